// Which of this machine's CPUs a run has. Slurm counts them in its own way.
import { readdir, readFile } from 'node:fs/promises'
import type { Share } from '../../protocol/messages/share.ts'
import { type CpuTopology, parseCpuList, toMachineCpus } from '../../slurm/cpu-list.ts'

const cpuFolder = '/sys/devices/system/cpu'

/** Undefined where Slurm did not tell, or told of CPUs that this machine has not. */
export type MachineCpus = (share: Share) => readonly number[] | undefined

/** Reads the machine's topology once. */
export async function loadMachineCpus(): Promise<MachineCpus> {
  const topology = await readTopology()
  return (share) => (share.cpus === '' ? undefined : toMachineCpus(parseCpuList(share.cpus), topology))
}

async function readTopology(): Promise<readonly CpuTopology[]> {
  const names = (await readdir(cpuFolder)).filter((name) => /^cpu\d+$/.test(name))
  const read = async (name: string, file: string) => {
    // A CPU that is offline has no topology; it cannot be in an allocation either.
    const text = await readFile(`${cpuFolder}/${name}/topology/${file}`, 'utf8').catch(() => undefined)
    return text === undefined ? undefined : Number(text.trim())
  }
  const all = await Promise.all(
    names.map(async (name) => ({
      cpu: Number(name.slice(3)),
      socket: await read(name, 'physical_package_id'),
      core: await read(name, 'core_id'),
    })),
  )
  return all.flatMap(({ cpu, socket, core }) =>
    socket === undefined || core === undefined ? [] : [{ cpu, socket, core }],
  )
}

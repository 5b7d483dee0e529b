// MPI's ping-pong between the VMs of two nodes beside the same two nodes without VMs: latency and bandwidth, as the program
// itself measures them. The times are of an emulated guest; only their ratio says something.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { waitFor } from '../cluster/wait.ts'
import type { Cluster } from '../support/cluster.ts'
import { placeMpi } from '../transparent/mpi/prefix.ts'
import { allocate, benchUser, release } from './allocation.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'

const timeoutMs = 300_000
const endMs = 60_000

interface Exchange {
  readonly sizes: readonly { readonly bytes: number; readonly latencyUs: number; readonly bandwidthMibS: number }[]
}

async function pingPong(cluster: Cluster, job: string): Promise<Exchange> {
  const step = ['srun', `--jobid=${job}`, '--overlap', '--nodes=2', '--ntasks=2', '--mpi=pmix']
  const program = [`/home/${benchUser}/mpi/run`, 'ping-pong.openmpi']
  // More processes than CPUs: the library must not spin while it waits.
  const argv = ['/usr/bin/env', 'OMPI_MCA_mpi_yield_when_idle=1', ...step, ...program]
  const { exitCode, stdout, stderr } = await cluster.run(argv, { user: benchUser, timeoutMs })
  if (exitCode !== 0) throw new Error(`${argv.join(' ')} ended with ${exitCode}:\n${stderr}${stdout}`)
  return JSON.parse(stdout) as Exchange
}

const smallestLatency = ({ sizes }: Exchange): number => sizes[0]?.latencyUs ?? Number.NaN
const largestBandwidth = ({ sizes }: Exchange): number => sizes.at(-1)?.bandwidthMibS ?? Number.NaN

/** Until its CPUs are free: else the next job might have others. */
async function untilGone(cluster: Cluster, job: string): Promise<void> {
  const isGone = async () => {
    const { stdout } = await cluster.run(['squeue', '--noheader', `--jobs=${job}`], { user: benchUser })
    return stdout === ''
  }
  if (!(await waitFor(isGone, { timeoutMs: endMs }))) throw new Error(`job ${job} does not end`)
}

/**
 * Throws unless the job has another CPU on each node. The nodes of this cluster share the machine's: two VMs bound to the same
 * one take turns on it for milliseconds while they poll, which no two machines do.
 */
async function assertApart(cluster: Cluster, job: string): Promise<void> {
  const { stdout } = await cluster.run(['scontrol', '--details', 'show', 'job', job], { user: benchUser })
  const cpus = [...stdout.matchAll(/ CPU_IDs=(\S+)/g)].map(([, list]) => list)
  if (cpus.length !== 2 || cpus[0] === cpus[1]) throw new Error(`the ranks have the CPUs ${cpus.join(' and ')}`)
}

export async function measureMpi(cluster: Cluster, { runs, say, signal }: BenchOptions): Promise<Metric[]> {
  const folder = join(cluster.layout.folder, 'home', benchUser, 'mpi')
  await placeMpi(folder)
  const shape = ['--nodes=2', '--ntasks-per-node=1', '--mem=600']
  const exchangeIn = async (options: readonly string[]): Promise<Exchange> => {
    signal.throwIfAborted()
    const job = await allocate(cluster, [...shape, ...options])
    try {
      await assertApart(cluster, job)
      return await pingPong(cluster, job)
    } finally {
      await release(cluster, [job])
      await untilGone(cluster, job)
    }
  }
  const [plain, vm]: [Exchange[], Exchange[]] = [[], []]
  // It has the first CPU of its node, so what comes gets the second there and the first on the other.
  const placeholder = await allocate(cluster, ['--nodelist=n1', '--ntasks=1', '--mem=50'])
  try {
    for (let run = 0; run < Math.min(runs, 3); run++) {
      plain.push(await exchangeIn([]))
      vm.push(await exchangeIn(['--vm-image=tiny']))
      const shown = [plain, vm].map((all) => all.at(-1)).map((one) => one && `${smallestLatency(one)} us`)
      say(`MPI's ping-pong ${run + 1}: plain ${shown[0]}, between VMs ${shown[1]}`)
    }
  } finally {
    await release(cluster, [placeholder])
    rmSync(folder, { recursive: true, force: true })
  }
  const figure = (name: string, unit: string, of: (one: Exchange) => number): Metric =>
    judge({ name, unit, value: median(vm.map(of)), baseline: median(plain.map(of)) })
  return [
    figure('MPI ping-pong, 1 byte, one way', 'us', smallestLatency),
    figure('MPI ping-pong, 1 MiB', 'MiB/s', largestBandwidth),
  ]
}

// MPI's ping-pong between the VMs of two nodes beside the same two nodes without VMs: latency and bandwidth, as the program
// itself measures them. The times are of an emulated guest; only their ratio says something.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from '../support/cluster.ts'
import { placeMpi } from '../transparent/mpi/prefix.ts'
import { allocate, benchUser, release } from './allocation.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'

const timeoutMs = 300_000

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

export async function measureMpi(cluster: Cluster, { runs, say, signal }: BenchOptions): Promise<Metric[]> {
  const folder = join(cluster.layout.folder, 'home', benchUser, 'mpi')
  await placeMpi(folder)
  const jobs: string[] = []
  const [plain, vm]: [Exchange[], Exchange[]] = [[], []]
  try {
    const shape = ['--nodes=2', '--ntasks-per-node=1', '--mem=600']
    const bare = await allocate(cluster, shape)
    jobs.push(bare)
    const inVms = await allocate(cluster, [...shape, '--vm-image=tiny'])
    jobs.push(inVms)
    for (let run = 0; run < Math.min(runs, 3); run++) {
      signal.throwIfAborted()
      plain.push(await pingPong(cluster, bare))
      vm.push(await pingPong(cluster, inVms))
      const shown = [plain, vm].map((all) => all.at(-1)).map((one) => one && `${smallestLatency(one)} us`)
      say(`MPI's ping-pong ${run + 1}: plain ${shown[0]}, between VMs ${shown[1]}`)
    }
  } finally {
    await release(cluster, jobs)
    rmSync(folder, { recursive: true, force: true })
  }
  const figure = (name: string, unit: string, of: (one: Exchange) => number): Metric =>
    judge({ name, unit, value: median(vm.map(of)), baseline: median(plain.map(of)) })
  return [
    figure('MPI ping-pong, 1 byte, one way', 'us', smallestLatency),
    figure('MPI ping-pong, 1 MiB', 'MiB/s', largestBandwidth),
  ]
}

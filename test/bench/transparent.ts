// The benchmark `transparent`: what a script pays for being in a VM when it calls Slurm or passes messages, in one run on a
// cluster of its own.
import { measureParts } from './bench-cluster.ts'
import type { BenchOptions } from './main.ts'
import type { Metric } from './metric.ts'
import { measureMpi } from './mpi-exchange.ts'
import { measureRelayedCommands } from './relayed-commands.ts'

export function benchTransparent(options: BenchOptions): Promise<readonly Metric[]> {
  return measureParts(
    [
      ["Slurm's commands from inside a VM", (cluster) => measureRelayedCommands(cluster, options)],
      ['MPI between two VMs', (cluster) => measureMpi(cluster, options)],
    ],
    options,
  )
}

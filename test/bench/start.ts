// The benchmark `start`: what vmrm adds to a job's start and to its steps, all in one run on a cluster of its own.
import { measureParts } from './bench-cluster.ts'
import { measureHooksEndToEnd } from './end-to-end-hooks.ts'
import { measureFirstInstruction } from './first-instruction.ts'
import { measureHooks } from './hooks-cost.ts'
import type { BenchOptions } from './main.ts'
import type { Metric } from './metric.ts'
import { measureRunningVm } from './running-vm.ts'

export function benchStart(options: BenchOptions): Promise<readonly Metric[]> {
  return measureParts(
    [
      ['the four hooks', () => measureHooks(options)],
      ['srun to the first user instruction', (cluster) => measureFirstInstruction(cluster, options)],
      ['steps, output and memory in a running VM', (cluster) => measureRunningVm(cluster, options)],
      ['srun without a VM', async (cluster) => [await measureHooksEndToEnd(cluster, options)]],
    ],
    options,
  )
}

// The benchmark `start`: what vmrm adds to a job's start and to its steps, all in one run on a cluster of its own.
import { clusterCommand, openCluster } from '../support/cluster.ts'
import { measureHooksEndToEnd } from './end-to-end-hooks.ts'
import { measureFirstInstruction } from './first-instruction.ts'
import { measureHooks } from './hooks-cost.ts'
import type { BenchOptions } from './main.ts'
import type { Metric } from './metric.ts'
import { measureRunningVm } from './running-vm.ts'

/** Not the folder of any other cluster: this one is taken down afterwards. */
const folder = '/var/tmp/vmrm-bench-cluster'

export async function benchStart(options: BenchOptions): Promise<readonly Metric[]> {
  const { say, signal } = options
  process.env.VMRM_CLUSTER_DIR = folder
  const parts: readonly (readonly [string, (cluster: ReturnType<typeof openCluster>) => Promise<readonly Metric[]>])[] =
    [
      ['the four hooks', () => measureHooks(options)],
      ['srun to the first user instruction', (cluster) => measureFirstInstruction(cluster, options)],
      ['steps, output and memory in a running VM', (cluster) => measureRunningVm(cluster, options)],
      ['srun without a VM', async (cluster) => [await measureHooksEndToEnd(cluster, options)]],
    ]
  say(`a cluster in ${folder}`)
  try {
    await clusterCommand(['down'])
    await clusterCommand(['up'])
    const cluster = openCluster()
    await cluster.waitUntilIdle(60_000)
    const metrics: Metric[] = []
    for (const [name, measure] of parts) {
      signal.throwIfAborted()
      say(name)
      metrics.push(...(await measure(cluster)))
    }
    return metrics
  } finally {
    say('taking the cluster down')
    await clusterCommand(['down'])
  }
}

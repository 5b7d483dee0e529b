// The cluster that a benchmark has for itself: up before its parts, down after them whatever happens.
import { type Cluster, clusterCommand, openCluster } from '../support/cluster.ts'
import type { BenchOptions } from './main.ts'
import { type Metric, renderTable } from './metric.ts'

/** Not the folder of any other cluster: this one is taken down afterwards. */
const folder = '/var/tmp/vmrm-bench-cluster'

/** What is measured, for people, and how. */
export type Part = readonly [name: string, measure: (cluster: Cluster) => Promise<readonly Metric[]>]

/**
 * The figures of all parts, one part after another. Rejects with what a part throws, after it has said what was measured before.
 * `shape` are options of `cluster up`.
 */
export async function measureParts(
  parts: readonly Part[],
  { say, signal }: BenchOptions,
  shape: readonly string[] = [],
): Promise<readonly Metric[]> {
  process.env.VMRM_CLUSTER_DIR = folder
  say(`a cluster in ${folder}`)
  const metrics: Metric[] = []
  try {
    await clusterCommand(['down'])
    await clusterCommand(['up', ...shape])
    const cluster = openCluster()
    await cluster.waitUntilIdle(60_000)
    for (const [name, measure] of parts) {
      signal.throwIfAborted()
      say(name)
      metrics.push(...(await measure(cluster)))
    }
    return metrics
  } catch (error) {
    if (metrics.length > 0) say(`measured before it failed:\n${renderTable(metrics)}`)
    throw error
  } finally {
    say('taking the cluster down')
    await clusterCommand(['down'])
  }
}

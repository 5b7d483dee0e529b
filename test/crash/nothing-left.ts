// Whether anything is left of a run that was played: on its nodes by the leak ledger, and of its leases. It changes nothing.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { controllerName, hostNamed } from '../cluster/layout.ts'
import type { Cluster } from '../support/cluster.ts'
import { compareLedgers, type Ledger, takeLedger } from '../support/leaks.ts'
import { readLeases } from '../support/leases.ts'
import { until } from '../support/until.ts'

const boundMs = 500_000
/** Each look at the ledger starts programs. */
const lookEveryMs = 200

/** What of these nodes differs from before; waits until nothing does. The controller's leases are `leasesOf`'s matter. */
export async function leftOn(
  cluster: Cluster,
  nodes: readonly string[],
  run: string,
  before: Ledger,
): Promise<string[]> {
  const hosts = cluster.layout.hosts.filter(({ name }) => nodes.includes(name))
  // Cheap to look at, and the last that goes but for markers.
  const runs = hosts.map(({ folder }) => join(folder, 'var/lib/vmrm/runs', run))
  await until(`nodes without ${run}`, () => !runs.some(existsSync), boundMs, lookEveryMs).catch(() => {}) // what is left is the answer
  let differences: string[] = []
  await until(
    'the state from before',
    async () => {
      const now = await takeLedger({ ...cluster.layout, hosts })
      // On other nodes runs come and go; their lines are not this one's.
      differences = compareLedgers(before, now).filter((line) => nodes.some((node) => line.startsWith(`${node} `)))
      return differences.length === 0
    },
    boundMs,
    lookEveryMs,
  ).catch(() => {})
  return differences
}

/** What the controller has leased to these runs; waits until that is nothing. A reconciler may have had to find out. */
export async function leasesOf(cluster: Cluster, runs: readonly string[]): Promise<string[]> {
  const controller = hostNamed(cluster.layout, controllerName)
  let left: string[] = []
  await until(
    'the end of all leases',
    async () => {
      const leases = await readLeases(controller)
      left = leases.filter((lease) => runs.some((run) => lease.endsWith(` ${run}`)))
      return left.length === 0
    },
    boundMs,
    lookEveryMs,
  ).catch(() => {}) // what is left is the answer
  return left
}

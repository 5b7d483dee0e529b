// Runs over many simulated nodes and the real controller: all of a run or none of it, also when nodes are slow, die, or the
// controller is killed. No time is asserted.
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { until } from '../support/until.ts'
import { type SimulatedSite, startSite } from './controller.ts'
import { type Fleet, startFleet } from './fleet.ts'
import { endJob, runJob } from './run-job.ts'
import type { NodeOutcome } from './simulated-node.ts'

t.setTimeout(600_000)

const nodes = 64
const perNode = 16

function read(site: SimulatedSite, query: string): readonly Record<string, unknown>[] {
  const database = new DatabaseSync(site.ledgerPath, { readOnly: true })
  try {
    return database.prepare(query).all()
  } finally {
    database.close()
  }
}

const leases = (site: SimulatedSite, job: number) =>
  Number(read(site, `SELECT count(*) AS n FROM leases WHERE job = ${job}`)[0]?.n)
const stateOf = (site: SimulatedSite, job: number) => read(site, `SELECT state FROM runs WHERE job = ${job}`)[0]?.state
const tally = (outcomes: readonly NodeOutcome[]) =>
  Object.fromEntries([...Map.groupBy(outcomes, ({ state }) => state)].map(([state, of]) => [state, of.length]))

t.test('a run over 64 nodes is there as a whole or not at all', async (t) => {
  const site = await startSite({ nodes, lostNodeSeconds: 1 })
  let fleet: Fleet | undefined
  t.teardown(async () => {
    await fleet?.stop()
    await site.stop()
  })
  fleet = await startFleet(site.nodeConfig, site.nodes)
  const of = { site, fleet, nodes, perNode }

  const clean = await runJob({ ...of, job: 1, seed: 1 })
  t.same(tally(clean.outcomes), { committed: nodes })
  t.ok(clean.outcomes.every(({ vms }) => vms === perNode))
  t.equal(leases(site, 1), 3 * nodes * perNode + 1)

  const [first, second] = await Promise.all([
    runJob({ ...of, job: 2, seed: 2, faults: { slow: { nodes: 3, times: 2 } } }),
    runJob({ ...of, job: 3, seed: 3 }),
  ])
  t.same([tally(first.outcomes), tally(second.outcomes)], [{ committed: nodes }, { committed: nodes }], 'side by side')
  const shared = read(site, 'SELECT space, value, count(*) AS n FROM leases GROUP BY space, value HAVING n > 1')
  t.same(shared, [], 'nothing is leased twice')

  await site.restart()
  t.equal(
    leases(site, 1) + leases(site, 2) + leases(site, 3),
    3 * (3 * nodes * perNode + 1),
    'a killed controller knows',
  )
  // Busy with greetings on connections that all are new, it takes no node for dead.
  const [greeted] = await Promise.all([runJob({ ...of, job: 5, seed: 5 }), fleet.hello()])
  t.same(tally(greeted.outcomes), { committed: nodes }, 'a run while all nodes come back at once')
  for (const job of [1, 2, 3, 5]) await endJob(site, fleet, job)
  for (const job of [1, 2, 3, 5]) await until(`job ${job} has ended`, () => stateOf(site, job) === 'ended', 60_000)
  t.same(read(site, 'SELECT * FROM leases'), [])

  const struck = await runJob({ ...of, job: 4, seed: 4, faults: { slow: { nodes: 1, times: 2 }, dying: 5 } })
  t.same(tally(struck.outcomes), { died: 5, refused: nodes - 5 })
  t.ok(struck.outcomes.every(({ vms }) => vms === 0))
  const reasons = new Set(struck.outcomes.filter(({ state }) => state === 'refused').map(({ reason }) => reason))
  t.equal(reasons.size, 1, [...reasons].join(' | '))
  t.match([...reasons][0], /^vmrm: the vmrmd of node s00(60|61|62|63|64) has gone and not come back\n/)
  await endJob(site, fleet, 4)
  t.equal(leases(site, 4), 3 * nodes * perNode + 1, 'what the dead nodes may have is not given to anybody')
  t.equal(stateOf(site, 4), 'ending')
})

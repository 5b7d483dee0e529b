// A batch that is made whole or not at all, and destroyed whole, whoever is killed at the points of one scenario.
import type { Test } from 'tap'
import { holdAt } from '../crash/held-steps.ts'
import { leasesOf, leftOn } from '../crash/nothing-left.ts'
import { kill } from '../crash/victims.ts'
import type { Cluster, Finished } from '../support/cluster.ts'
import type { Ledger } from '../support/leaks.ts'
import { until } from '../support/until.ts'
import { type Batch, boundMs, create, destroy, domains, find, inVm, lookEveryMs, made } from './batch-commands.ts'
import type { BatchPoint, BatchScenario } from './kill-points.ts'

const nodes = '--nodes=n[1-2]'

/** `before`: the leak ledger without any batch. */
export async function killThroughout(
  t: Test,
  { cluster, before }: { cluster: Cluster; before: Ledger },
  scenario: BatchScenario,
): Promise<void> {
  const { making, outcomes, removal } = scenario
  const name = `${making.victim}-at-${making.step}`
  const said = await killDuring(cluster, making, () => create(cluster, name, nodes))
  const batch = await decided(cluster, name)
  const outcome = batch.state === 'committed' ? 'all' : 'none'
  t.comment(`${name}: ${outcome} ${batch.reason ?? ''}`)
  t.ok(outcomes.includes(outcome), `${name}: ${outcome}; ${batch.reason}; ${said.stderr}`)
  if (outcome === 'none') await hasNothing(t, cluster, { name, said, batch })
  else await hasAll(t, cluster, { name, said, batch, victim: making.victim })

  const again = () => cluster.run(['vmrm', 'destroy', name], { timeoutMs: boundMs })
  // It may end with the controller that it asked; said again it tells when nothing is left.
  if (removal !== undefined && outcome === 'all') await killDuring(cluster, removal, again)
  await destroy(t, cluster, name)
  const killed = removal === undefined ? name : `${name}, ${removal.victim} at ${removal.step}`
  t.same(await domains(cluster), [], killed)
  const run = `b${batch.batch}r0`
  t.same(await leftOn(cluster, ['n1', 'n2'], run, before), [], `${killed}: nothing is left`)
  t.same(await leasesOf(cluster, [run]), [], `${killed}: its leases are free`)
}

interface Played {
  readonly name: string
  /** By `vmrm create`, which may have been killed. */
  readonly said: Finished
  readonly batch: Batch
}

async function hasNothing(t: Test, cluster: Cluster, { name, said, batch }: Played): Promise<void> {
  t.not(said.exitCode, 0, name)
  // What is killed may have been the controller, before it had answered.
  const [, reason] =
    /^(?:vmrm: the controller does not answer; .*\n)?vmrm: batch b\d+ \(.*\) has no VMs: (.+)\n$/.exec(said.stderr) ??
    []
  t.equal(reason, batch.reason, `${name} has one reason, the same as in the list: ${said.stderr}`)
  t.same(await domains(cluster), [], name)
}

async function hasAll(t: Test, cluster: Cluster, played: Played & { victim: string }): Promise<void> {
  const { name, said, batch, victim } = played
  if (victim === 'client') t.match(said, { signal: 'SIGKILL', stdout: '' }, `${name}: nobody was told`)
  else t.equal(made(said).batch, batch.batch)
  t.equal(made(await create(cluster, name, nodes)).batch, batch.batch, 'asked for again it is the same')
  t.same(
    await domains(cluster),
    batch.vms.map((vm) => vm.name),
    name,
  )
  const hosts = await Promise.all(batch.vms.map((_, index) => inVm(cluster, batch, index, 'hostname')))
  t.same(
    hosts.map(({ stdout }) => stdout.trim()),
    batch.vms.map(({ hostname }) => hostname),
    `${name}: all of them work`,
  )
}

/** What an administrator finds, whatever became of the command. */
const decided = (cluster: Cluster, name: string): Promise<Batch> =>
  until(
    `what becomes of ${name}`,
    async () => {
      const batch = await find(cluster, name)
      return batch?.state === 'committed' || batch?.state === 'ended' ? batch : undefined
    },
    boundMs,
    lookEveryMs,
  )

/** Kills somebody at a step of a command; resolves to what the command said when everybody is back. */
async function killDuring(
  { layout }: Cluster,
  { step, host, victim }: BatchPoint,
  begin: () => Promise<Finished>,
): Promise<Finished> {
  const hold = holdAt(layout, host, step, 'any')
  let isOver = false
  const command = begin().finally(() => {
    isOver = true
  })
  const held = await hold.reached(async () => isOver, boundMs)
  const back = held && (await kill(victim, { layout, host: 'n1', subject: held.subject, pid: held.pid }))
  hold.release()
  await back?.()
  if (held === undefined) throw new Error(`${step} was not taken: ${JSON.stringify(await command)}`)
  return command
}

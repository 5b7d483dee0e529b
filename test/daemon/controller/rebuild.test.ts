// A ledger that was lost, cannot be read or is an older copy, put together again from what nodes and Slurm tell.
import { copyFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { shareOf } from '../../../lib/daemon/controller/handlers/share-of.ts'
import { type Ledger, openLedger, type RunState } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createRebuild } from '../../../lib/daemon/controller/rebuild/rebuild.ts'
import { leasesOf, runFromNodes, type ToldRun } from '../../../lib/daemon/controller/rebuild/told-run.ts'
import type { Transactions } from '../../../lib/daemon/controller/transaction/transaction.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { batchRun, type Run, runId } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import { addressPool, hostnameRange, macRange, vniRange } from '../../../lib/network/address.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { until } from '../../support/until.ts'

const owner = { uid: 2001, gid: 2001, user: 'alice', account: '', image: 'tiny', script: 'guest' as const }
const ranges = {
  hostnames: { ...hostnameRange('tiny-[001-200]'), title: 'hostnames' },
  addresses: { ...addressPool({ kind: 'private', addresses: '10.77.0.0/24' }), title: 'addresses' },
  macs: { ...macRange('52:54:76'), title: 'MAC addresses' },
  vnis: { ...vniRange(100, 50), title: 'VNIs' },
}

/** Begins a run with two VMs on each node, as the planner would. */
function begin(ledger: Ledger, job: number, nodes: readonly string[], state: RunState = 'committed'): Run {
  const run = { job, restart: 0 }
  ledger.add({ ...run, ...owner, deadlineMs: 5000, beganMs: 1000 })
  ledger.setPlan(run, (leases): RunPlan => {
    const count = nodes.length * 2
    const [names, addresses, macs] = [
      leases.take(ranges.hostnames, count, run),
      leases.take(ranges.addresses, count, run),
      leases.take(ranges.macs, count, run),
    ]
    const vm = (index: number) => ({
      ...{ index, hostname: names[index] ?? '', mac: macs[index] ?? '', address: addresses[index] ?? '' },
      ...{ vcpus: 1, memoryMib: 300, slots: 1 },
    })
    return {
      ...{ image: 'tiny', revision: '1', prefixLength: 24, gateway: '10.77.0.1', sshSecret: 'ab'.repeat(32) },
      vni: Number(leases.take(ranges.vnis, 1, run)[0]),
      nodes: nodes.map((node, at) => {
        const underlay = `10.99.0.${at + 11}`
        return { node, underlay, cpuIds: [0, 1], memoryMib: 800, vms: [vm(2 * at), vm(2 * at + 1)] }
      }),
    }
  })
  if (state !== 'preparing') ledger.move(run, { from: ['preparing'], to: state })
  return run
}

/** What the node's journal has of the run. */
function toldBy(ledger: Ledger, node: string, of: Run, state: ToldRun['state'] = 'committed'): ToldRun {
  const record = ledger.find(of)
  const share = record === undefined ? undefined : shareOf(record, node)
  if (record === undefined || share === undefined) throw new Error(`no share of ${runId(of)} on ${node}`)
  const { uid, gid, user, script } = record
  return { ...of, node, uid, gid, user, script, state, reason: '', began: new Date(1000).toISOString(), share }
}

function setUp(ledger: Ledger) {
  const slurm = createFakeSlurm()
  /** What each node that answers holds. */
  const nodes = new Map<string, ToldRun[]>()
  const answerOf = (node: string) => {
    const told = nodes.get(node)
    if (told === undefined) throw new VmrmError('daemon-unreachable', 'no answer')
    return told
  }
  const transactions = {
    end: (run: Run) => void ledger.move(run, { from: ['preparing', 'committed', 'aborted', 'lost'], to: 'ending' }),
    nodeEnded(run: Run, node: string) {
      ledger.setShare(run, node, { state: 'ended' })
      if (ledger.shares(run).every((share) => share.state === 'ended')) ledger.finish(run, 9)
    },
  } as Transactions
  const rebuild = createRebuild({
    ...{ ledger, slurm, transactions, log: silentLog, prepareMs: 1000, now: () => 10_000 },
    nodes: {
      heldRuns: async (node) => answerOf(node).map(({ job, restart }) => ({ job, restart })),
      tellRun: async (node, { job }) => answerOf(node).find((told) => told.job === job),
    },
  })
  return { slurm, nodes, rebuild }
}

const leasesIn = (ledger: Ledger, ...runs: Run[]) =>
  runs.flatMap((run) => leasesOf(ledger.find(run)?.plan as RunPlan).map(({ space, value }) => `${space} ${value}`))

const byValue = (a: { value: string }, b: { value: string }) => (a.value < b.value ? -1 : 1)

t.test('a plan comes back whole from the shares of its nodes, and its leases from any one of them', async (t) => {
  const ledger = openLedger(':memory:')
  const run = begin(ledger, 7, ['n1', 'n2', 'n3'])
  const plan = ledger.find(run)?.plan as RunPlan
  const told = ['n3', 'n1', 'n2'].map((node) => toldBy(ledger, node, run)) as [ToldRun, ...ToldRun[]]
  const all = runFromNodes(told, { answered: new Set(['n1', 'n2', 'n3']), deadlineMs: 1 })
  t.same(all.plan, plan)
  t.match(all, { state: 'committed', image: 'tiny', user: 'alice', beganMs: 1000 })
  for (const one of told) {
    const { leases, plan: partial } = runFromNodes([one], { answered: new Set(), deadlineMs: 1 })
    t.same(new Set(leases.map((lease) => JSON.stringify(lease))).size, 1 + 3 * 6)
    t.same(leases.toSorted(byValue), leasesOf(plan).toSorted(byValue), one.node)
    t.same(
      partial.nodes.map((node) => node.vms.map((vm) => vm.hostname)),
      plan.nodes.map((node) => node.vms.map((vm) => vm.hostname)),
    )
  }
})

t.test('what one node has heard of a decision holds for all, and without any the run stays undecided', async (t) => {
  const ledger = openLedger(':memory:')
  const run = begin(ledger, 7, ['n1', 'n2'])
  const [n1, n2] = ['n1', 'n2'].map((node) => toldBy(ledger, node, run)) as [ToldRun, ToldRun]
  const everybody = new Set(['n1', 'n2'])
  const decided = (one: ToldRun['state'], other: ToldRun['state'] | 'silent' | 'without', answered = everybody) => {
    const told: [ToldRun, ...ToldRun[]] = [{ ...n1, state: one }]
    if (other !== 'silent' && other !== 'without') told.push({ ...n2, state: other })
    return runFromNodes(told, { answered: other === 'silent' ? new Set(['n1']) : answered, deadlineMs: 1 }).state
  }
  t.equal(decided('prepared', 'committed'), 'committed')
  t.equal(decided('committed', 'lost'), 'lost')
  t.equal(decided('prepared', 'aborted'), 'aborted')
  t.equal(decided('prepared', 'prepared'), 'preparing')
  t.equal(decided('prepared', 'silent'), 'preparing', 'the silent one may have been told')
  t.equal(decided('prepared', 'without'), 'aborted', 'one that holds nothing has refused')
  t.equal(decided('ending', 'committed'), 'committed')
  t.equal(decided('ending', 'silent'), 'ending')
})

t.test('a run that cannot be taken up keeps no other from it, nor is anything leased before it is', async (t) => {
  const before = openLedger(':memory:')
  const [first, second] = [begin(before, 1, ['n1']), begin(before, 2, ['n1'])]
  const opened = openLedger(join(t.testdir(), 'ledger.sqlite'))
  let isFull = true
  const ledger: Ledger = {
    ...opened,
    adopt(run) {
      if (isFull && run.job === 1) throw new Error('database or disk is full')
      return opened.adopt(run)
    },
  }
  const { slurm, nodes, rebuild } = setUp(ledger)
  slurm.nodes.set('n1', 'doubtful')
  for (const job of [1, 2]) slurm.states.set(job, 'active')
  nodes.set('n1', [toldBy(before, 'n1', first), toldBy(before, 'n1', second)])
  const rebuilt = rebuild.run(new AbortController().signal)
  await until('the other one is taken up', () => ledger.find(second) !== undefined)
  await t.rejects(rebuild.mayLease(1), { message: /waits until they can be written: .*disk is full/ })
  isFull = false
  await rebuilt
  t.same([ledger.find(first)?.state, rebuild.isDone()], ['committed', true])
})

t.test('after a loss nothing is leased before all nodes that may hold something have told', async (t) => {
  const before = openLedger(':memory:')
  const runs = [begin(before, 1, ['n1']), begin(before, 2, ['n1', 'n2'])]
  const path = join(t.testdir(), 'ledger.sqlite')
  const ledger = openLedger(path)
  t.equal(ledger.trust.isTrusted(), false, 'a new ledger knows nothing')
  const { slurm, nodes, rebuild } = setUp(ledger)
  const stop = new AbortController()
  for (const node of ['n1', 'n2']) slurm.nodes.set(node, 'doubtful')
  slurm.nodes.set('n3', 'free').set('n4', 'off')
  for (const job of [1, 2]) slurm.states.set(job, 'active')
  nodes.set(
    'n1',
    runs.map((run) => toldBy(before, 'n1', run)),
  )
  const done = rebuild.run(stop.signal)
  await until('both runs are known', () => ledger.inState('committed').length === 2)
  await t.rejects(rebuild.mayLease(1), { code: 'ledger-rebuilding', message: /do not answer: n2$/ })
  t.same(ledger.find({ job: 2, restart: 0 })?.plan?.nodes.length, 2, 'the other node told what the silent one has')
  nodes.set('n2', [toldBy(before, 'n2', runs[1] as Run)])
  await done
  await rebuild.mayLease(1)
  t.equal(ledger.trust.isTrusted(), true)
  const held = leasesIn(ledger, ...runs)
  t.same(held.toSorted(), leasesIn(before, ...runs).toSorted())
  const next = begin(ledger, 3, ['n3'])
  const all = [...held, ...leasesIn(ledger, next)]
  t.equal(new Set(all).size, all.length, 'no value twice')
  ledger.close()
  const again = openLedger(path)
  t.equal(again.trust.isTrusted(), true, 'and that is known after a restart')
  t.equal(again.leaseCount(), all.length)
  again.close()
})

t.test('a node that is gone for good is not waited for', async (t) => {
  const ledger = openLedger(join(t.testdir(), 'ledger.sqlite'))
  const { slurm, rebuild } = setUp(ledger)
  slurm.nodes.set('n1', 'doubtful')
  ledger.setGone('n1')
  await rebuild.run(new AbortController().signal)
  await rebuild.mayLease(1)
  ledger.rememberNode('n1', '10.99.0.11', 1)
  t.same([...ledger.goneNodes()], [], 'its hello takes it back')
  ledger.close()
})

for (const [what, spoil] of [
  ['is gone', (path: string) => rmSync(path)],
  ['is no database', (path: string) => writeFileSync(path, 'x'.repeat(5000))],
  ['is cut off', (path: string) => writeFileSync(path, Buffer.alloc(0))],
] as const) {
  t.test(`a ledger that ${what} is put aside, and the new one is not trusted`, async (t) => {
    const folder = t.testdir()
    const path = join(folder, 'ledger.sqlite')
    const first = openLedger(path)
    first.trust.trust()
    first.close()
    t.equal(reopened(path), true)
    spoil(path)
    t.equal(reopened(path), false)
    const aside = readdirSync(folder).filter((name) => name.startsWith('ledger.sqlite.unusable-'))
    t.equal(aside.length, what === 'is gone' ? 0 : 1)
  })
}

function reopened(path: string): boolean {
  const ledger = openLedger(path)
  const isTrusted = ledger.trust.isTrusted()
  ledger.close()
  return isTrusted
}

t.test('an older copy is known as one, and what it does not know or knows wrongly is mended', async (t) => {
  const folder = t.testdir()
  const path = join(folder, 'ledger.sqlite')
  const now = openLedger(path)
  now.trust.trust()
  const over = begin(now, 1, ['n1'])
  const undecided = begin(now, 2, ['n1', 'n2'], 'preparing')
  now.close()
  copyFileSync(path, join(folder, 'backup'))
  const later = openLedger(path)
  later.finish(over, 5)
  later.move(undecided, { from: ['preparing'], to: 'committed' })
  const newer = begin(later, 3, ['n2'])
  const told = { n1: [toldBy(later, 'n1', undecided)], n2: [undecided, newer].map((run) => toldBy(later, 'n2', run)) }
  const expected = leasesIn(later, undecided, newer)
  later.close()
  copyFileSync(join(folder, 'backup'), path)

  const ledger = openLedger(path)
  t.equal(ledger.trust.isTrusted(), false)
  const { slurm, nodes, rebuild } = setUp(ledger)
  for (const job of [2, 3]) slurm.states.set(job, 'active')
  for (const node of ['n1', 'n2'] as const) {
    slurm.nodes.set(node, 'doubtful')
    nodes.set(node, told[node])
  }
  await rebuild.run(new AbortController().signal)
  t.equal(ledger.find(over)?.state, 'ended', 'its node holds nothing of it')
  t.equal(ledger.find(undecided)?.state, 'committed')
  t.equal(ledger.find(newer)?.state, 'committed')
  t.same(leasesIn(ledger, undecided, newer).toSorted(), expected.toSorted())
  t.equal(ledger.leaseCount(), expected.length)
  ledger.close()
})

t.test('a whole folder of an older state looks sound, until a node tells of a run that nobody knows', async (t) => {
  const before = openLedger(':memory:')
  const run = begin(before, 1, ['n1'])
  for (const when of ['at the start', 'by a hello'] as const) {
    const ledger = openLedger(join(t.testdir(), 'ledger.sqlite'))
    ledger.trust.trust()
    const { slurm, nodes, rebuild } = setUp(ledger)
    slurm.states.set(1, 'active')
    slurm.nodes.set('n1', 'doubtful')
    nodes.set('n1', when === 'at the start' ? [toldBy(before, 'n1', run)] : [])
    await rebuild.run(new AbortController().signal)
    if (when === 'by a hello') {
      t.equal(ledger.find(run), undefined)
      nodes.set('n1', [toldBy(before, 'n1', run)])
      await rebuild.stranger('n1', run)
    }
    await rebuild.mayLease(5000)
    t.equal(ledger.find(run)?.state, 'committed', when)
    t.same(leasesIn(ledger, run), leasesIn(before, run))
    ledger.close()
  }
})

/** What the node's journal has of a batch. */
const toldOfBatch = (ledger: Ledger, node: string, of: Run): ToldRun => ({
  ...toldBy(ledger, node, of),
  batch: { name: `name-${of.job}`, content: '0f'.repeat(32) },
})

t.test('a lost ledger takes batches up from their nodes, with their names and with what they have lost', async (t) => {
  const before = openLedger(':memory:')
  const [whole, torn] = [3, 4].map((batch) => begin(before, batchRun(batch).job, ['n1', 'n2'])) as [Run, Run]
  const ledger = openLedger(join(t.testdir(), 'ledger.sqlite'))
  const { slurm, nodes, rebuild } = setUp(ledger)
  for (const node of ['n1', 'n2']) slurm.nodes.set(node, 'free')
  const missing = [{ vm: 'b4r0v3', reason: 'the guest powered off' }]
  nodes.set('n1', [toldOfBatch(before, 'n1', whole), toldOfBatch(before, 'n1', torn)])
  nodes.set('n2', [toldOfBatch(before, 'n2', whole), { ...toldOfBatch(before, 'n2', torn), missing }])
  await rebuild.run(new AbortController().signal)
  t.match(ledger.find(whole), { state: 'committed' }, 'although Slurm knows nothing of it')
  t.match(ledger.find(torn), { state: 'lost', reason: 'the guest powered off' })
  t.match(ledger.batchOf(whole), { batch: 3, name: `name-${whole.job}` })
  t.same(
    [3, 4, 5].map((batch) => ledger.hasGiven(batch)),
    [false, false, false],
  )
  const owned = { ...owner, deadlineMs: 5000, beganMs: 1000 }
  const { batch } = ledger.addBatch('next', 'c', (run) => ledger.add({ ...run, ...owned }))
  t.ok(batch > 10_000_000, 'nor is a number given again that no node holds any more')
  t.same(
    ledger.shares(torn).map((share) => share.missing),
    [[], missing],
  )
  ledger.close()
})

t.test('a batch that was destroyed since an older copy of the ledger was made is over', async (t) => {
  const ledger = openLedger(join(t.testdir(), 'ledger.sqlite'))
  const [gone, there] = [1, 2].map((batch) => begin(ledger, batchRun(batch).job, ['n1', 'n2'])) as [Run, Run]
  const { slurm, nodes, rebuild } = setUp(ledger)
  for (const node of ['n1', 'n2']) slurm.nodes.set(node, 'free')
  nodes.set('n1', [toldOfBatch(ledger, 'n1', there)])
  nodes.set('n2', [])
  await rebuild.run(new AbortController().signal)
  t.equal(ledger.find(gone)?.state, 'ended')
  t.equal(ledger.find(there)?.state, 'committed', 'one node still has it')
  ledger.close()
})

t.test('a batch of which the plan was never written is not over because nobody has it', async (t) => {
  const ledger = openLedger(join(t.testdir(), 'ledger.sqlite'))
  const run = batchRun(1)
  ledger.add({ ...run, ...owner, deadlineMs: 5000, beganMs: 1000 })
  const { slurm, nodes, rebuild } = setUp(ledger)
  slurm.nodes.set('n1', 'free')
  nodes.set('n1', [])
  await rebuild.run(new AbortController().signal)
  t.equal(ledger.find(run)?.state, 'preparing', 'its deadline ends it')
  ledger.close()
})

import t from 'tap'
import { type Ledger, openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import type { Messenger } from '../../../lib/daemon/controller/messenger.ts'
import type { JobRequest } from '../../../lib/daemon/controller/planning/planner.ts'
import { createTransactions } from '../../../lib/daemon/controller/transaction/transaction.ts'
import { MustWait } from '../../../lib/daemon/controller/waiting-room.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import type { Strategy } from '../../../lib/job/decision.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { batchRun, type Run, runId } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import { hostnameRange } from '../../../lib/network/address.ts'
import { until } from '../../support/until.ts'

const run = { job: 7, restart: 0 }
const pool = { ...hostnameRange('p-[0-9]'), title: 'p' }

function request(of: Run = run): JobRequest {
  const vm = { image: 'tiny', perNode: 1, script: 'guest' as const }
  return {
    ...of,
    uid: 2001,
    gid: 2001,
    user: 'alice',
    account: '',
    nodes: 'n[1-2]',
    selector: String(of.job),
    request: vm,
  }
}

function planFor(nodes: readonly string[]): RunPlan {
  const vm = (index: number) => ({
    index,
    hostname: `h${index}`,
    mac: '52:54:76:00:00:01',
    address: '10.0.0.2',
    vcpus: 1,
    memoryMib: 400,
  })
  const planned = nodes.map((node, index) => ({
    node,
    underlay: '10.99.0.11',
    cpuIds: [],
    memoryMib: 500,
    vms: [vm(index)],
  }))
  return { image: 'tiny', revision: '1', vni: 1, prefixLength: 24, gateway: '10.0.0.1', nodes: planned }
}

function setUp(
  options: {
    planned?: () => Promise<void>
    mayLease?: () => Promise<void>
    commenting?: () => Promise<void>
    strategy?: Strategy
  } = {},
) {
  const opened = openLedger(':memory:')
  /** What of the ledger's cannot be written: a method, of all runs or of one (`move j7r0`). */
  const broken = new Set<string>()
  const orFail = (method: 'move' | 'setShare' | 'loseVm', of: Run) => {
    if (broken.has(method) || broken.has(`${method} ${runId(of)}`)) throw new Error('disk I/O error')
  }
  const ledger: Ledger = {
    ...opened,
    move: (of, ...change) => {
      orFail('move', of)
      return opened.move(of, ...change)
    },
    setShare: (of, ...change) => {
      orFail('setShare', of)
      opened.setShare(of, ...change)
    },
    loseVm: (of, ...change) => {
      orFail('loseVm', of)
      return opened.loseVm(of, ...change)
    },
  }
  const told: string[] = []
  const left: number[] = []
  const messenger: Messenger = {
    // What is told must be in the ledger already.
    pushVerdict: (record) => told.push(`${ledger.find(record)?.state} ${record.job}r${record.restart}`),
    comment: async (of, text) => {
      await options.commenting?.()
      told.push(`comment ${of.job}: ${text}`)
    },
    drainNode: (_of, node) => told.push(`drain ${node}`),
    handleNodeFault: (_of, node) => told.push(`fault ${node}`),
  }
  const clock = { ms: 0 }
  const transactions = createTransactions({
    ledger,
    messenger,
    log: silentLog,
    prepareMs: 1000,
    mayLease: async () => options.mayLease?.(),
    onBatchAborted: (of) => told.push(`remove ${runId(of)}`),
    waitingRoom: {
      async enter(of, selector, wanted) {
        told.push(`wait ${selector} ${wanted.image} ${wanted.vms}`)
        return of.job === 8 ? 'refused' : 'waits'
      },
      leave: (job) => void left.push(job),
    },
    now: () => clock.ms,
    planner: {
      async plan(of) {
        await options.planned?.()
        if (of.user === 'mallory') throw new VmrmError('image-not-allowed', 'user mallory may not use image tiny')
        return (leases) => {
          leases.take(pool, 1, of)
          const { strategy } = options
          return { ...planFor(['n1', 'n2']), ...(strategy === undefined ? {} : { strategy }) }
        }
      },
    },
  })
  return { ledger, transactions, told, left, clock, broken }
}

t.test('all nodes prepared means commit, and not one moment before', async (t) => {
  const { transactions, told } = setUp()
  await transactions.begin(request())
  transactions.prepared(run, 'n1')
  transactions.prepared(run, 'n1')
  t.equal(transactions.verdict(run).verdict, 'pending')
  transactions.prepared(run, 'n2')
  t.equal(transactions.verdict(run).verdict, 'commit')
  t.same(told, ['committed 7r0'])
})

t.test('one failure means abort for good, with its reason', async (t) => {
  const { transactions, told } = setUp()
  await transactions.begin(request())
  transactions.prepared(run, 'n1')
  const failing = transactions.failed(run, 'n2', { code: 'vm-boot-timeout', reason: 'VM j7r0v1 did not answer' })
  transactions.prepared(run, 'n2')
  await failing
  t.same(transactions.verdict(run), { verdict: 'abort', reason: 'VM j7r0v1 did not answer', missing: [] })
  t.same(told, ['comment 7: vmrm: VM j7r0v1 did not answer', 'aborted 7r0'])
})

t.test('the cause is in AdminComment before any node hears of it, however the run failed', async (t) => {
  type Transactions = ReturnType<typeof setUp>['transactions']
  const cause = { code: 'vm-lost', node: 'n2', vm: 'j7r0v1', reason: 'crashed' }
  const ways: readonly (readonly [string, (of: Transactions, clock: { ms: number }) => unknown])[] = [
    ['a node has failed', (of) => of.failed(run, 'n2', cause)],
    ['a VM is lost', (of) => of.lost(run, cause)],
    [
      'the deadline',
      (of, clock) => {
        clock.ms = 1000
        of.expire()
      },
    ],
    ['a restart', (of) => of.recover()],
    ['a node is lost', (of) => of.nodeLost('n2')],
  ]
  for (const [name, fail] of ways) {
    const slurm = Promise.withResolvers<void>()
    const { transactions, told, clock } = setUp({ commenting: () => slurm.promise })
    await transactions.begin(request())
    fail(transactions, clock)
    t.equal(transactions.verdict(run).verdict, 'abort', name)
    let asked = 'waits'
    const asking = transactions.causeTold(run).then(() => {
      asked = 'answered'
    })
    await new Promise(setImmediate)
    const heard = () => told.filter((line) => !line.startsWith('fault'))
    t.same([heard(), asked], [[], 'waits'], `${name}: neither who is told nor who asks`)
    slurm.resolve()
    await asking
    await until('the push', () => heard().length === 2)
    t.match(heard(), [/^comment 7: vmrm: /, /^aborted 7r0$/], name)
  }
})

t.test('a controller that comes back tells Slurm again what was decided', async (t) => {
  const { transactions, told, ledger } = setUp()
  await transactions.begin(request())
  ledger.move(run, { from: ['preparing'], to: 'aborted' }, { code: 'vm-lost', reason: 'VM j7r0v0 is gone' })
  transactions.recover()
  await transactions.causeTold(run)
  t.same(told, ['comment 7: vmrm: VM j7r0v0 is gone'])
})

t.test('a commit that cannot be written is written when a node reports again, long before the deadline', async (t) => {
  const { transactions, told, broken } = setUp()
  await transactions.begin(request())
  transactions.prepared(run, 'n1')
  broken.add('move')
  t.throws(() => transactions.prepared(run, 'n2'), /disk I\/O error/)
  t.throws(() => transactions.prepared(run, 'n1'), /disk I\/O error/, 'nor is a repeat held as if all were well')
  t.same([transactions.verdict(run).verdict, told], ['pending', []])
  broken.clear()
  transactions.prepared(run, 'n1')
  t.same([transactions.verdict(run).verdict, told], ['commit', ['committed 7r0']])
})

t.test('a failure that cannot be written is tried again by itself', async (t) => {
  const cause = { code: 'node-fault', reason: 'no bridge' }
  for (const method of ['move', 'setShare'] as const) {
    const { transactions, told, broken } = setUp()
    await transactions.begin(request())
    broken.add(method)
    await t.rejects(transactions.failed(run, 'n2', cause), /disk I\/O error/, 'the node hears that it was not heard')
    transactions.expire()
    t.equal(transactions.verdict(run).verdict, 'pending', method)
    broken.clear()
    await new Promise(setImmediate)
    transactions.expire()
    t.match(transactions.verdict(run), { verdict: 'abort', reason: 'no bridge' }, method)
    t.same(told.slice(0, 1), ['fault n2'])
    await until('the push', () => told.includes('aborted 7r0'))
    transactions.expire()
    t.equal(told.filter((line) => line === 'fault n2').length, 1, 'once')
  }
})

t.test('that a node is lost is tried again when it cannot be written, unless the run is over by then', async (t) => {
  for (const isOver of [false, true]) {
    const { transactions, broken, ledger, told } = setUp()
    await transactions.begin(request())
    broken.add('setShare')
    transactions.nodeLost('n2')
    await new Promise(setImmediate)
    t.equal(transactions.verdict(run).verdict, 'pending')
    broken.clear()
    if (isOver) ledger.move(run, { from: ['preparing'], to: 'ending' })
    transactions.expire()
    if (isOver) t.equal(ledger.share(run, 'n2'), 'planned')
    else t.match(transactions.verdict(run), { verdict: 'abort', reason: /vmrmd of node n2 has gone/ })
    t.equal(told.includes('fault n2'), !isOver)
  }
})

t.test('that a VM is lost is tried again when it cannot be written, and told when it is', async (t) => {
  const cause = { node: 'n2', vm: 'j7r0v1', reason: 'crashed' }
  const { transactions, told, broken } = setUp()
  await transactions.begin(request())
  for (const node of ['n1', 'n2']) transactions.prepared(run, node)
  broken.add('move')
  await t.rejects(transactions.lost(run, cause), /disk I\/O error/, 'the node hears that it was not heard')
  transactions.expire()
  t.same([transactions.verdict(run).verdict, told], ['commit', ['committed 7r0']])
  broken.clear()
  await new Promise(setImmediate)
  transactions.expire()
  t.match(transactions.verdict(run), { verdict: 'lost', reason: /crashed/ })
  await until('the push', () => told.includes('lost 7r0'))
  transactions.expire()
  t.equal(told.filter((line) => line === 'lost 7r0').length, 1, 'once')
})

t.test('a refusal that cannot be written is written when it can be, with its reason', async (t) => {
  const { transactions, broken, left } = setUp()
  broken.add('move')
  await t.rejects(transactions.begin({ ...request(), user: 'mallory' }), /disk I\/O error/)
  t.equal(transactions.verdict(run).verdict, 'pending')
  broken.clear()
  transactions.expire()
  t.match(transactions.verdict(run), { verdict: 'abort', reason: /mallory may not use image tiny/ })
  t.same(left, [], 'Slurm keeps no room for it: the waiting room finds that out')
})

t.test('one run whose decision cannot be written keeps no other from its own', async (t) => {
  const others = [8, 9].map((job) => ({ job, restart: 0 }))
  const verdicts = (of: ReturnType<typeof setUp>) =>
    [run, ...others].map((each) => of.transactions.verdict(each).verdict)
  for (const how of ['the deadline', 'a restart', 'a node that is lost'] as const) {
    const parts = setUp()
    const { transactions, broken, clock } = parts
    for (const each of [run, ...others]) await transactions.begin(request(each))
    broken.add('move j7r0')
    if (how === 'a restart') transactions.recover()
    else if (how === 'the deadline') {
      clock.ms = 1000
      t.throws(() => transactions.expire(), { message: 'j7r0: disk I/O error' }, 'and it is said')
    } else transactions.nodeLost('n2')
    t.same(verdicts(parts), ['pending', 'abort', 'abort'], how)
    await new Promise(setImmediate)
    broken.clear()
    transactions.expire()
    t.same(verdicts(parts), ['abort', 'abort', 'abort'], how)
  }
})

t.test('the end of a job ends each of its runs, also where one of them cannot be written', async (t) => {
  const { transactions, ledger, broken } = setUp()
  await transactions.begin(request())
  const next = { job: 7, restart: 1 }
  ledger.add({
    ...next,
    uid: 1,
    gid: 1,
    user: 'alice',
    account: '',
    image: 'tiny',
    script: 'guest',
    deadlineMs: 9,
    beganMs: 0,
  })
  for (const each of ['j7r0', 'j7r1']) broken.add(`move ${each}`)
  t.throws(() => transactions.end(next), { message: 'j7r0: disk I/O error; j7r1: disk I/O error' }, 'each is named')
  broken.delete('move j7r1')
  t.throws(() => transactions.end(next), { message: 'j7r0: disk I/O error' })
  t.equal(ledger.find(next)?.state, 'ended')
  broken.clear()
  transactions.end(next)
  t.equal(ledger.find(run)?.state, 'ending')
})

t.test("only a node's own fault is handled as one", async (t) => {
  for (const [code, expected] of [
    ['libvirt-unreachable', 1],
    ['node-fault', 1],
    ['vm-boot-timeout', 0],
    ['node-disk-full', 0],
    ['no-such-code', 0],
  ] as const) {
    const { transactions, told } = setUp()
    await transactions.begin(request())
    transactions.failed(run, 'n2', { code, reason: 'x' })
    t.equal(told.filter((line) => line === 'fault n2').length, expected, code)
  }
})

t.test('what the nodes of a best-effort run have reported is read when it can decide something', async (t) => {
  const { transactions, ledger } = setUp({ strategy: 'best-effort' })
  await transactions.begin(request())
  let reads = 0
  const { shares } = ledger
  ledger.shares = (of) => {
    reads += 1
    return shares(of)
  }
  transactions.prepared(run, 'n2')
  t.equal(reads, 0, 'not before the first node has told')
  transactions.prepared(run, 'n1')
  t.same([reads, transactions.verdict(run).verdict], [1, 'commit'])
})

t.test('a failure that is told again drains its node once', async (t) => {
  const { transactions, told } = setUp({ strategy: 'best-effort' })
  await transactions.begin(request())
  for (let times = 0; times < 3; times += 1)
    await transactions.failed(run, 'n2', { code: 'libvirt-unreachable', reason: 'no libvirtd' })
  t.same(
    told.filter((line) => line === 'drain n2'),
    ['drain n2'],
  )
})

t.test("a user's mistake is a verdict, not an error of the hook", async (t) => {
  const { transactions, ledger } = setUp()
  await transactions.begin({ ...request(), user: 'mallory' })
  t.match(transactions.verdict(run), { verdict: 'abort', reason: /mallory may not use image tiny/ })
  t.equal(ledger.leaseCount(), 0)
})

t.test('a deadline aborts and names the nodes that were late', async (t) => {
  const { transactions, clock } = setUp()
  await transactions.begin(request())
  transactions.prepared(run, 'n1')
  clock.ms = 999
  transactions.expire()
  t.equal(transactions.verdict(run).verdict, 'pending')
  clock.ms = 1000
  transactions.expire()
  t.match(transactions.verdict(run), { verdict: 'abort', reason: /node n2 were not ready/ })
})

t.test('after a restart what was undecided is aborted and what was decided stays', async (t) => {
  const { transactions } = setUp()
  await transactions.begin(request())
  await transactions.begin(request({ job: 8, restart: 0 }))
  for (const node of ['n1', 'n2']) transactions.prepared({ job: 8, restart: 0 }, node)
  transactions.recover()
  t.equal(transactions.verdict(run).verdict, 'abort')
  t.equal(transactions.verdict({ job: 8, restart: 0 }).verdict, 'commit')
})

t.test('a run whose last node had confirmed when the controller died is ended by the next one', async (t) => {
  const { transactions, ledger } = setUp()
  await transactions.begin(request())
  ledger.move(run, { from: ['preparing'], to: 'ending' })
  for (const node of ['n1', 'n2']) ledger.setShare(run, node, { state: 'ended' })
  transactions.recover()
  t.match(ledger.find(run), { state: 'ended' })
  t.equal(ledger.leaseCount(), 0)
})

t.test('leases are held until every node has confirmed that nothing is left', async (t) => {
  const { transactions, ledger } = setUp()
  await transactions.begin(request())
  for (const node of ['n1', 'n2']) transactions.prepared(run, node)
  transactions.end(run)
  transactions.end(run)
  t.equal(transactions.verdict(run).verdict, 'ended')
  transactions.nodeEnded(run, 'n1', { peakMemoryBytes: 300, cpuTimeNs: 2e9 })
  t.equal(ledger.leaseCount(), 1)
  transactions.nodeEnded(run, 'n2', { peakMemoryBytes: 100, cpuTimeNs: 1e9 })
  t.equal(ledger.leaseCount(), 0)
  t.same(ledger.usage(run), { peakMemoryBytes: 300, cpuTimeNs: 3e9 })
})

t.test('a job that is cancelled while it is planned leases nothing', async (t) => {
  let release = () => {}
  const gate = new Promise<void>((resolve) => {
    release = resolve
  })
  const { transactions, ledger } = setUp({ planned: () => gate })
  const beginning = transactions.begin(request())
  transactions.end(run)
  release()
  await beginning
  t.equal(ledger.leaseCount(), 0)
  t.equal(transactions.verdict(run).verdict, 'ended')
})

t.test('a lost VM ends a committed run once', async (t) => {
  const { transactions, told } = setUp()
  await transactions.begin(request())
  for (const node of ['n1', 'n2']) transactions.prepared(run, node)
  const cause = { node: 'n2', vm: 'j7r0v1', reason: 'crashed' }
  await transactions.lost(run, cause)
  await transactions.lost(run, { ...cause, reason: 'again' })
  t.same(transactions.verdict(run), { verdict: 'lost', reason: 'VM j7r0v1 on node n2 is gone: crashed', missing: [] })
  t.equal(told.filter((line) => line.startsWith('lost')).length, 1)
  const lines = told.filter((line) => /^(lost|comment)/.test(line))
  t.match(lines, [/^comment/, /^lost/], 'Slurm is told before the tasks, whose end ends the job')
})

t.test('hooks that come twice, late or for an older run change nothing', async (t) => {
  const { transactions, ledger } = setUp()
  await transactions.begin(request())
  await transactions.begin(request())
  t.equal(ledger.leaseCount(), 1)
  const next = { job: 7, restart: 1 }
  await transactions.begin(request(next))
  t.equal(transactions.verdict(run).verdict, 'ended', 'a newer run ends the older one')
  transactions.prepared(run, 'n1')
  transactions.end(run)
  t.equal(transactions.verdict(next).verdict, 'pending', 'the end of an older run does not end the newer one')
  t.equal(transactions.verdict({ job: 99, restart: 0 }).verdict, 'ended', 'a run nobody knows is over')
})

t.test(
  'the end of a run that is still being prepared is told to its nodes, of a committed one it is not',
  async (t) => {
    const { transactions, told } = setUp()
    await transactions.begin(request())
    transactions.end(run)
    t.same(told, ['ending 7r0'])
    const other = setUp()
    await other.transactions.begin(request())
    for (const node of ['n1', 'n2']) other.transactions.prepared(run, node)
    other.transactions.end(run)
    t.same(other.told, ['committed 7r0'])
  },
)

t.test(
  'a run that must wait is given up without a verdict to its tasks, and refused where Slurm keeps the job',
  async (t) => {
    const full = new VmrmError('range-full', 'image tiny: 1 wanted, 0 of 1 free')
    const mayLease = async () => {
      throw new MustWait(full, { image: 'tiny', vms: 1 })
    }
    const { transactions, ledger, told, left } = setUp({ mayLease })
    await transactions.begin(request())
    t.match(told, [/^comment 7: .*0 of 1 free; the job waits in the queue/, 'wait 7 tiny 1'])
    t.match(ledger.find(run), { state: 'aborted', code: 'range-full', reason: /the job waits/ })
    t.same(left, [])
    const refused = { job: 8, restart: 0 }
    await transactions.begin(request(refused))
    t.match(ledger.find(refused), { state: 'aborted', reason: /^image tiny: 1 wanted, 0 of 1 free/ })
    t.notMatch(ledger.find(refused)?.reason, /waits/)
    t.same(left, [8])
  },
)

const ofBatch = { uid: 2001, gid: 2001, user: 'alice', account: '', nodes: 'n[1-2]', vm: { vcpus: 1, memoryMib: 400 } }
const wanted = { ...ofBatch, request: { image: 'tiny', perNode: 1, script: 'guest' as const } }
const batch = batchRun(1)

t.test('a batch goes the way of a run, and one that is given up is removed', async (t) => {
  const { transactions, ledger, told, clock } = setUp()
  const begun = transactions.beginBatch({ ...wanted, withinMs: 500 }, { name: 'a', content: 'c' })
  t.match(ledger.find(batch), { state: 'preparing', deadlineMs: clock.ms + 500 }, 'in the ledger when it returns')
  await begun.planned
  transactions.prepared(batch, 'n1')
  clock.ms += 600
  transactions.expire()
  t.match(ledger.find(batch), { state: 'aborted', reason: /after 1 s the VMs of node n2 were not ready/ })
  t.ok(told.includes('remove b1r0'))
})

t.test('a batch that has no room does not wait in a queue of Slurm', async (t) => {
  const { transactions, ledger, told } = setUp({
    mayLease: async () => {
      throw new MustWait(new VmrmError('range-full', 'p: 1 wanted, 0 of 10 free'), { image: 'tiny', vms: 1 })
    },
  })
  await transactions.beginBatch(wanted, { name: 'a', content: 'c' }).planned
  t.match(ledger.find(batch), { state: 'aborted', code: 'range-full', reason: /0 of 10 free/ })
  t.notOk(told.some((line) => line.startsWith('wait')))
})

t.test('what a best-effort batch is made without is no loss while other nodes still prepare', async (t) => {
  const { transactions, ledger, told } = setUp({ strategy: 'best-effort' })
  await transactions.beginBatch(wanted, { name: 'a', content: 'c' }).planned
  const missing = { vm: 'b1r0v1', reason: 'it did not answer' }
  transactions.prepared(batch, 'n2', [missing])
  await transactions.lost(batch, { node: 'n2', ...missing })
  t.equal(ledger.find(batch)?.state, 'preparing')
  transactions.prepared(batch, 'n1')
  t.equal(ledger.find(batch)?.state, 'committed')
  await transactions.lost(batch, { node: 'n2', ...missing })
  t.equal(ledger.find(batch)?.state, 'committed')
  t.notOk(told.includes('remove b1r0'))
})

t.test(
  'a node that the plan does not have is told that the run is over, and a late failure takes no end back',
  async (t) => {
    const { transactions, ledger } = setUp()
    await transactions.beginBatch(wanted, { name: 'a', content: 'c' }).planned
    t.same(
      ['n1', 'n9'].map((node) => transactions.verdict(batch, node).verdict),
      ['pending', 'ended'],
    )
    for (const node of ['n1', 'n2']) transactions.prepared(batch, node)
    t.same(
      ['n1', 'n9'].map((node) => transactions.verdict(batch, node).verdict),
      ['commit', 'ended'],
    )
    t.match(transactions.verdict(batch), { verdict: 'commit' })
    transactions.end(batch)
    transactions.nodeEnded(batch, 'n1')
    await transactions.failed(batch, 'n1', { code: 'run-ended', reason: 'node n1: batch b1 is over here' })
    transactions.nodeEnded(batch, 'n2')
    t.equal(ledger.find(batch)?.state, 'ended')
  },
)

t.test('a VM that a running batch loses is the only one', async (t) => {
  const { transactions, ledger, told, broken } = setUp()
  await transactions.beginBatch(wanted, { name: 'a', content: 'c' }).planned
  for (const node of ['n1', 'n2']) transactions.prepared(batch, node)
  t.equal(ledger.find(batch)?.state, 'committed')
  told.length = 0
  const loss = { node: 'n2', vm: 'b1r0v1', reason: 'the guest powered off' }
  broken.add('loseVm')
  await t.rejects(transactions.lost(batch, loss), /disk I\/O error/)
  t.equal(ledger.find(batch)?.state, 'committed')
  broken.clear()
  transactions.expire()
  t.equal(ledger.find(batch)?.state, 'lost')
  for (let times = 0; times < 2; times++) await transactions.lost(batch, loss)
  t.match(ledger.find(batch), { state: 'lost', reason: 'VM b1r0v1 on node n2 is gone: the guest powered off' })
  t.equal(transactions.verdict(batch, 'n1').verdict, 'commit')
  t.match(ledger.shares(batch)[1], { state: 'prepared', missing: { length: 1 } }, 'told twice it is lost once')
  t.same(told, [], 'no node ends the others')
})

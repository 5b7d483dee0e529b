import t from 'tap'
import type { Catalogue } from '../../../lib/config/load.ts'
import { createControllerHandlers } from '../../../lib/daemon/controller/handlers/controller-handlers.ts'
import { createHeldReports } from '../../../lib/daemon/controller/held-reports.ts'
import { openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createNodeDrains } from '../../../lib/daemon/controller/node-drains.ts'
import type { Transactions } from '../../../lib/daemon/controller/transaction/transaction.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { batchRun, type Run } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import { defaultServerLimits } from '../../../lib/protocol/server.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { serve } from '../../support/protocol/fixtures.ts'

const alice = { uid: 2001, gid: 2001, user: 'alice', account: '', image: 'tiny', script: 'guest' as const }

/** With one VM on each node. */
function planOf(names: readonly string[]): RunPlan {
  const vm = (index: number) => ({
    ...{ index, hostname: `h${index}`, mac: `52:54:76:00:00:0${index}`, address: `10.0.0.${index + 2}` },
    ...{ vcpus: 1, memoryMib: 400 },
  })
  const nodes = names.map((node, at) => ({
    ...{ node, underlay: `10.99.0.1${at}`, cpuIds: [], memoryMib: 500, vms: [vm(at)] },
  }))
  return { image: 'tiny', revision: '1', vni: 1, prefixLength: 24, gateway: '10.0.0.1', nodes }
}

function setUp(options: { holdMs?: number; transactions?: Partial<Transactions> } = {}) {
  const ledger = openLedger(':memory:')
  const slurm = createFakeSlurm()
  const strangers: string[] = []
  const lost = new Set<string>()
  const verdict = () => ({ verdict: 'ended', reason: '' })
  const transactions = { verdict, ...options.transactions } as unknown as Transactions
  const handlers = createControllerHandlers({
    ...{ ledger, slurm, transactions, log: silentLog, trustedUids: [0], now: () => 1 },
    reports: createHeldReports({ holdMs: options.holdMs ?? 1000 }),
    drains: createNodeDrains({ ledger, slurm, log: silentLog }),
    onHello: () => {},
    isLost: (node) => lost.has(node),
    catalogue: {} as Catalogue,
    nodes: { answers: async () => true },
    rebuild: { isDone: () => true, stranger: async (node, run) => void strangers.push(`${node} ${run.job}`) },
    beginRun: async () => 'plain' as const,
    lookUpAccount: async () => {
      throw new Error('not asked here')
    },
  })
  const hello = async (...jobs: number[]) => {
    const runs = jobs.map((job) => ({ job, restart: 0, state: 'committed' as const }))
    const reply = await handlers['node-hello']({ node: 'n1', address: '10.99.0.11', health: 'ready', runs })
    return reply.runs.map((run) => [run.job, run.verdict])
  }
  return { slurm, hello, strangers, handlers, ledger, lost }
}

t.test('a ledger that was lost is no reason to end jobs that Slurm still runs', async (t) => {
  const { slurm, hello, strangers } = setUp()
  slurm.states.set(1, 'active')
  slurm.states.set(2, 'completing')
  slurm.states.set(3, 'ended')
  slurm.states.set(4, 'pending')
  t.same(await hello(1, 2, 3, 4, 5), [
    [1, 'pending'],
    [2, 'pending'],
    [3, 'ended'],
    [4, 'ended'],
    [5, 'ended'],
  ])
  t.same(strangers, ['n1 1', 'n1 2'], 'and the node is asked for what it knows of them')
})

t.test('when neither ledger nor Slurm can tell of a run, the node is told nothing of that one', async (t) => {
  const { slurm, hello, ledger, strangers } = setUp()
  slurm.state = 'down'
  ledger.add({ job: 2, restart: 0, ...alice, deadlineMs: 0, beganMs: 0 })
  t.same(await hello(1, 2), [
    [1, 'pending'],
    [2, 'ended'],
  ])
  t.same(strangers, [])
})

t.test('what cannot be written of a hello keeps no run from its answer, nor another from its end', async (t) => {
  const ended: number[] = []
  const nodeEnded = (run: Run) => {
    if (run.job === 1) throw new Error('database or disk is full')
    ended.push(run.job)
  }
  const { hello, ledger } = setUp({ transactions: { nodeEnded } })
  for (const job of [1, 2, 3]) {
    ledger.add({ job, restart: 0, ...alice, deadlineMs: 0, beganMs: 0 })
    ledger.setPlan({ job, restart: 0 }, () => planOf(['n1']))
    ledger.move({ job, restart: 0 }, { from: ['preparing'], to: job === 3 ? 'committed' : 'ending' })
  }
  ledger.rememberNode = () => {
    throw new Error('database or disk is full')
  }
  t.same(await hello(3), [[3, 'ended']])
  t.same(ended, [2])
})

t.test("a drain of vmrm's own is lifted once, and again after a try that failed", async (t) => {
  const { hello, ledger, slurm } = setUp()
  ledger.rememberNode('n1', '10.99.0.11', 0)
  ledger.setDrained('n1', 'drained')
  const { resumeOwnDrain } = slurm
  slurm.resumeOwnDrain = async () => {
    throw new VmrmError('command-failed', 'scontrol ended with 1')
  }
  await hello()
  await new Promise(setImmediate)
  t.ok(ledger.isDrained('n1'))
  const resumed = Promise.withResolvers<void>()
  slurm.resumeOwnDrain = async (node) => {
    await resumed.promise
    return resumeOwnDrain(node)
  }
  for (let times = 0; times < 2; times += 1) await hello()
  t.ok(ledger.isDrained('n1'), 'a controller that dies now does it again')
  resumed.resolve()
  await new Promise(setImmediate)
  t.same([ledger.isDrained('n1'), slurm.done], [false, ['resume n1']])
})

t.test('a batch that the ledger does not know is over if its number was given, and a stranger if not', async (t) => {
  const { hello, strangers, ledger, slurm } = setUp()
  // Slurm is not asked about it.
  slurm.state = 'down'
  const owner = { uid: 1, gid: 1, user: 'x', account: '', image: 'tiny', script: 'guest' as const }
  const add = (run: Run) => ledger.add({ ...run, ...owner, deadlineMs: 1, beganMs: 1 })
  for (const name of ['a', 'b']) ledger.addBatch(name, 'c', add)
  ledger.finish(batchRun(1), 1)
  ledger.forgetEndedBefore(2)
  ledger.move(batchRun(2), { from: ['preparing'], to: 'ending' })
  const [over, ending, unknown] = [1, 2, 3].map((batch) => batchRun(batch).job) as [number, number, number]
  t.same(await hello(over, ending, unknown), [
    [over, 'ended'],
    [ending, 'ended'],
    [unknown, 'pending'],
  ])
  t.same(strangers, [`n1 ${unknown}`])
})

t.test('a batch is listed by its number and name; what its nodes say and do not say shows in its VMs', async (t) => {
  const { handlers, ledger, lost } = setUp()
  ledger.addBatch('build-42', 'c', (run) => ledger.add({ ...run, ...alice, deadlineMs: 1, beganMs: 1 }))
  const run = batchRun(1)
  ledger.setPlan(run, () => planOf(['n1', 'n2', 'n3']))
  ledger.move(run, { from: ['preparing'], to: 'lost' }, { code: 'vm-lost', reason: 'VM b1r0v1 on node n2 is gone' })
  ledger.setShare(run, 'n2', { state: 'prepared', missing: [{ vm: 'b1r0v1', reason: 'it powered off' }] })
  for (const node of ['n2', 'n3']) lost.add(node)
  const as = (uid: number) => ({ from: 'local', uid, gid: uid, pid: 1 }) as const
  const list = (uid: number) => handlers['list-runs']({ all: false, batch: 1 }, as(uid))
  const { runs } = await list(2001)
  t.match(runs, [{ batch: 1, name: 'build-42', job: undefined, state: 'lost', code: 'vm-lost' }])
  t.match(runs[0]?.reason, /^VM b1r0v1 on node n2 is gone; nobody knows whether VMs on n3 run/)
  t.same(
    runs[0]?.vms.map(({ name, state }) => [name, state]),
    [
      ['b1r0v0', 'running'],
      ['b1r0v1', 'lost'],
      ['b1r0v2', 'unknown'],
    ],
  )
  t.same((await list(2002)).runs, [], "another user's")
  t.equal((await handlers['list-runs']({ all: false, job: 1 }, as(0))).runs.length, 0, 'job 1 is not batch 1')
})

t.test('however many runs wait for one node, what else it tells on its connection is heard', async (t) => {
  const failed: number[] = []
  const { handlers, ledger } = setUp({
    // Longer than the test: whoever waits behind a report that is held waits for ever.
    holdMs: 600_000,
    transactions: {
      prepared: () => {},
      failed: async (run) => void failed.push(run.job),
      verdict: () => ({ verdict: 'pending', reason: '', missing: [] }),
      causeTold: async () => {},
    },
  })
  const { requestsPerConnection } = defaultServerLimits
  const jobs = Array.from({ length: requestsPerConnection }, (_, index) => index + 1)
  for (const job of jobs) ledger.add({ job, restart: 0, ...alice, deadlineMs: 0, beganMs: 0 })
  const { client } = await serve(t, { handlers })
  const node = client('local')
  const bound = { timeoutMs: 60_000 }
  let answered = 0
  const waiting = jobs.map((job) =>
    node
      .call('report-prepared', { job, restart: 0, node: 'n1', missing: [] }, { timeoutMs: 600_000 })
      .then(({ verdict }) => {
        if (verdict === 'pending') answered += 1
      }),
  )
  const settled = Promise.allSettled(waiting)
  const cause = { code: 'vm-boot-timeout', reason: 'VM j1r0v0 did not answer' }
  await node.call('report-failed', { job: 1, restart: 0, node: 'n1', ...cause }, bound)
  t.same(failed, [1])
  await node.call('node-hello', { node: 'n1', address: '10.99.0.11', health: 'ready', runs: [] }, bound)
  t.ok(answered > requestsPerConnection / 2 && answered < jobs.length, `${answered} asked to come again, others held`)
  node.close()
  await settled
})

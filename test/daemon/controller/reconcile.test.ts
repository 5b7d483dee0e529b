import t from 'tap'
import { openLedger, type RunState } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createReconciler } from '../../../lib/daemon/controller/reconcile.ts'
import { createRemover } from '../../../lib/daemon/controller/remove-run.ts'
import type { Transactions } from '../../../lib/daemon/controller/transaction/transaction.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { batchRun, originName } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import type { JobState } from '../../../lib/slurm/job-details.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { until } from '../../support/until.ts'

const plan = {
  image: 'tiny',
  revision: '1',
  vni: 1,
  prefixLength: 24,
  gateway: '10.0.0.1',
  nodes: ['n1', 'n2'].map((node, index) => ({
    node,
    underlay: '10.99.0.11',
    cpuIds: [],
    memoryMib: 500,
    vms: [{ index, hostname: `h${index}`, mac: '52:54:76:00:00:01', address: '10.0.0.2', vcpus: 1, memoryMib: 400 }],
  })),
}

function setUp() {
  const ledger = openLedger(':memory:')
  const slurm = createFakeSlurm()
  const clock = { ms: 100_000 }
  const ended: number[] = []
  const destroyed: string[] = []
  const nodesDown = new Set<string>()
  /** Runs whose end cannot be written. */
  const unwritable = new Set<number>()
  /** A call to a node that hangs, until this is resolved. */
  const hanging = new Map<string, Promise<void>>()
  const transactions = {
    end(run: { job: number; restart: number }) {
      if (unwritable.has(run.job)) throw new Error('database or disk is full')
      ended.push(run.job)
      ledger.move(run, { from: ['preparing', 'committed', 'aborted', 'lost'], to: 'ending' })
    },
    async nodeEnded(run: { job: number; restart: number }, node: string) {
      ledger.setShare(run, node, { state: 'ended' })
    },
  } as unknown as Transactions
  const remover = createRemover({
    ...{ ledger, transactions, log: silentLog },
    nodes: {
      async destroyRun(node, run) {
        await hanging.get(node)
        if (nodesDown.has(node)) throw new VmrmError('daemon-unreachable', 'no answer')
        destroyed.push(`${node} ${originName(run)}`)
      },
    },
  })
  const reconciler = createReconciler({
    ...{ ledger, slurm, transactions, remover, log: silentLog, minimumAgeMs: 20_000, epilogMs: 60_000 },
    now: () => clock.ms,
  })
  const add = (job: number, options: { state?: RunState; ageMs?: number; inSlurm?: JobState } = {}) => {
    const { state = 'committed', ageMs = 60_000, inSlurm } = options
    const owner = { uid: 2001, gid: 2001, user: 'alice', account: '', image: 'tiny', script: 'guest' as const }
    ledger.add({ job, restart: 0, ...owner, deadlineMs: 0, beganMs: clock.ms - ageMs })
    ledger.setPlan({ job, restart: 0 }, () => plan)
    ledger.move({ job, restart: 0 }, { from: ['preparing'], to: state })
    if (inSlurm !== undefined) slurm.states.set(job, inSlurm)
  }
  return { ledger, slurm, clock, ended, destroyed, nodesDown, unwritable, hanging, reconciler, add }
}

t.test('runs whose job is over, unknown or back in the queue are ended; others are left alone', async (t) => {
  const { reconciler, add, ended } = setUp()
  add(1, { inSlurm: 'active' })
  add(2, { inSlurm: 'ended' })
  add(3)
  add(4, { inSlurm: 'pending' })
  add(5, { inSlurm: 'completing' })
  add(6, { ageMs: 5_000 })
  await reconciler.round()
  t.same(ended, [2, 3, 4])
})

t.test('when Slurm does not answer nothing is ended', async (t) => {
  const { reconciler, add, ended, slurm } = setUp()
  add(1)
  slurm.state = 'down'
  await t.rejects(reconciler.round(), { code: 'command-failed' })
  t.same(ended, [])
})

t.test('when Slurm does not answer, what is ending is removed all the same', async (t) => {
  const { reconciler, add, clock, destroyed, slurm } = setUp()
  add(1)
  add(2, { state: 'ending' })
  add(batchRun(1).job, { state: 'aborted' })
  slurm.state = 'down'
  await t.rejects(reconciler.round(), { code: 'command-failed' })
  t.same(destroyed.splice(0).sort(), ['n1 b1', 'n2 b1'], 'a batch at once')
  clock.ms += 61_000
  await t.rejects(reconciler.round(), { code: 'command-failed' })
  t.same(destroyed.sort(), ['n1 2', 'n2 2'], 'a run whose Epilog never came')
})

t.test('one run whose end cannot be written keeps no other from its end, nor from its removal', async (t) => {
  const { reconciler, add, ended, destroyed, unwritable, ledger } = setUp()
  const [broken = 0, aborted = 0, ending = 0] = [1, 2, 3].map((batch) => batchRun(batch).job)
  for (const job of [1, 2]) add(job)
  for (const job of [broken, aborted]) add(job, { state: 'aborted' })
  add(ending, { state: 'ending' })
  for (const node of ['n1', 'n2']) ledger.setShare({ job: ending, restart: 0 }, node, { state: 'ended' })
  for (const job of [1, broken, ending]) unwritable.add(job)
  await t.rejects(reconciler.round(), /disk is full/, 'and it is said')
  t.same(ended, [aborted, 2])
  t.same(destroyed.sort(), ['n1 b2', 'n2 b2'])
  unwritable.clear()
  await reconciler.round()
  t.same(new Set(ended), new Set([aborted, 2, 1, broken, ending]))
})

t.test('that Slurm does not answer hides nothing that could not be written, and each is said once', async (t) => {
  const { reconciler, add, unwritable, slurm } = setUp()
  const aborted = batchRun(1).job
  add(1)
  add(aborted, { state: 'aborted' })
  unwritable.add(aborted)
  slurm.state = 'down'
  const problem = await reconciler.round().then(
    () => undefined,
    (error: VmrmError) => error,
  )
  const alone = await slurm.jobStates().then(
    () => undefined,
    (error: VmrmError) => error.message,
  )
  t.ok(alone)
  t.same(problem?.message.split('; ').sort(), ['database or disk is full', alone].sort())
})

t.test('nodes whose Epilog never came are told to remove the run, once it had its time', async (t) => {
  const { reconciler, add, clock, destroyed, ledger } = setUp()
  add(1, { state: 'ending' })
  ledger.setShare({ job: 1, restart: 0 }, 'n1', { state: 'ended' })
  await reconciler.round()
  t.same(destroyed, [])
  clock.ms += 61_000
  await reconciler.round()
  t.same(destroyed, ['n2 1'])
})

t.test('a node that hangs holds up the removal of no other run', async (t) => {
  const { reconciler, add, clock, destroyed, hanging, ledger } = setUp()
  add(1, { state: 'ending' })
  add(2, { state: 'ending' })
  ledger.setShare({ job: 1, restart: 0 }, 'n1', { state: 'ended' })
  const answer = Promise.withResolvers<void>()
  hanging.set('n2', answer.promise)
  await reconciler.round()
  clock.ms += 61_000
  const round = reconciler.round()
  await until('the other run is removed', () => destroyed.includes('n1 2'))
  t.same(destroyed, ['n1 2'])
  answer.resolve()
  await round
  t.same(destroyed.sort(), ['n1 2', 'n2 1', 'n2 2'])
})

t.test('a run on a node that does not answer stays in quarantine', async (t) => {
  const { reconciler, add, clock, destroyed, nodesDown, ledger } = setUp()
  add(1, { state: 'ending' })
  nodesDown.add('n2')
  await reconciler.round()
  clock.ms += 61_000
  await reconciler.round()
  t.same(destroyed, ['n1 1'])
  const states = () => ledger.shares({ job: 1, restart: 0 }).map((share) => share.state)
  t.same(states(), ['ended', 'planned'])
  nodesDown.clear()
  await reconciler.round()
  t.same(states(), ['ended', 'ended'])
})

t.test('a batch is no business of Slurm, and no Epilog removes it', async (t) => {
  const { reconciler, add, ended, destroyed, ledger } = setUp()
  const numbers = [1, 2, 3].map((batch) => batchRun(batch).job)
  const [made = 0, aborted = 0, ending = 0] = numbers
  add(made)
  add(aborted, { state: 'aborted', ageMs: 0 })
  add(ending, { state: 'ending', ageMs: 0 })
  await reconciler.round()
  t.same(ended, [aborted])
  t.same(destroyed.sort(), ['n1 b2', 'n1 b3', 'n2 b2', 'n2 b3'], 'at once')
  t.equal(ledger.find(batchRun(1))?.state, 'committed')
})

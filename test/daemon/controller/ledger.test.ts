import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { batchRun } from '../../../lib/job/run.ts'
import { hostnameRange } from '../../../lib/network/address.ts'

const newRun = (job: number, restart = 0) => ({
  job,
  restart,
  uid: 2001,
  gid: 2001,
  user: 'alice',
  account: '',
  image: 'tiny',
  script: 'guest' as const,
  deadlineMs: 1000,
  beganMs: job,
})
const pool = { ...hostnameRange('tiny-[1-4]'), title: 'hostnames tiny-[1-4]' }
const plan = (hostnames: readonly string[]): RunPlan => ({
  image: 'tiny',
  revision: '1',
  vni: 1,
  prefixLength: 24,
  gateway: '10.0.0.1',
  nodes: hostnames.map((hostname, index) => ({
    node: `n-${hostname}`,
    underlay: '10.99.0.11',
    cpuIds: [0],
    memoryMib: 500,
    vms: [
      {
        index,
        hostname,
        mac: '52:54:76:00:00:01',
        address: '10.0.0.2',
        vcpus: 1,
        memoryMib: 400,
      },
    ],
  })),
})

t.test('a plan and its leases are there together, also after a restart', async (t) => {
  const path = join(t.testdir(), 'ledger.sqlite')
  const first = openLedger(path)
  first.add(newRun(1))
  first.setPlan({ job: 1, restart: 0 }, (leases) => plan(leases.take(pool, 2, { job: 1, restart: 0 })))
  first.close()
  const second = openLedger(path)
  t.equal(second.find({ job: 1, restart: 0 })?.plan?.nodes.length, 2)
  t.equal(second.leaseCount(), 2)
  t.same(
    second.shares({ job: 1, restart: 0 }).map((share) => [share.node, share.state]),
    [
      ['n-tiny-1', 'planned'],
      ['n-tiny-2', 'planned'],
    ],
  )
  second.close()
})

t.test('no number is leased twice, a full pool says so, and nothing stays of a plan that failed', async (t) => {
  const ledger = openLedger(':memory:')
  for (const job of [1, 2]) {
    ledger.add(newRun(job))
    ledger.setPlan({ job, restart: 0 }, (leases) => plan(leases.take(pool, 2, { job, restart: 0 })))
  }
  const names = [1, 2].flatMap((job) => ledger.find({ job, restart: 0 })?.plan?.nodes.map((node) => node.node))
  t.equal(new Set(names).size, 4)
  ledger.add(newRun(3))
  const third = { job: 3, restart: 0 }
  t.throws(() => ledger.setPlan(third, (leases) => plan(leases.take(pool, 1, third))), {
    code: 'range-full',
    message: /hostnames tiny-\[1-4\]: 1 wanted, 0 of 4 free/,
  })
  ledger.finish({ job: 1, restart: 0 }, 5)
  t.throws(
    () =>
      ledger.setPlan(third, (leases) => {
        leases.take(pool, 2, third)
        throw new Error('something else failed')
      }),
    /something else failed/,
  )
  t.equal(ledger.leaseCount(), 2)
  ledger.setPlan(third, (leases) => plan(leases.take(pool, 2, third)))
  t.equal(ledger.leaseCount(), 4)
})

t.test('what two images have in common is leased to one run only', async (t) => {
  const ledger = openLedger(':memory:')
  const leased = [hostnameRange('tiny-[2-9]'), hostnameRange('tiny-[1-10]')].flatMap((range, at) => {
    const run = { job: at + 1, restart: 0 }
    ledger.add(newRun(run.job))
    const pool = { ...range, title: 'hostnames' }
    let names: readonly string[] = []
    ledger.setPlan(run, (leases) => {
      names = leases.take(pool, 2, run)
      return plan(names)
    })
    return names
  })
  t.same(leased, ['tiny-2', 'tiny-3', 'tiny-4', 'tiny-5'], 'not tiny-1, which the next free one does not follow')
})

t.test('a number rests before it is leased again', async (t) => {
  const ledger = openLedger(':memory:')
  const leased: (readonly string[])[] = []
  for (const job of [1, 2, 3]) {
    ledger.add(newRun(job))
    ledger.setPlan({ job, restart: 0 }, (leases) => {
      leased.push(leases.take(pool, 1, { job, restart: 0 }))
      return plan(['h'])
    })
    ledger.finish({ job, restart: 0 }, 5)
  }
  t.same(leased, [['tiny-1'], ['tiny-2'], ['tiny-3']])
})

t.test('a decision is made once', async (t) => {
  const ledger = openLedger(':memory:')
  ledger.add(newRun(1))
  const run = { job: 1, restart: 0 }
  t.equal(ledger.move(run, { from: ['preparing'], to: 'aborted' }, { code: 'vm-lost', reason: 'because' }), true)
  t.equal(ledger.move(run, { from: ['preparing'], to: 'committed' }), false)
  t.match(ledger.find(run), { state: 'aborted', reason: 'because', code: 'vm-lost' })
  ledger.move(run, { from: ['aborted'], to: 'ending' })
  t.match(ledger.find(run), { state: 'ending', reason: 'because' }, 'the reason outlives the verdict')
})

t.test('vmrm remembers which nodes it drained itself', async (t) => {
  const ledger = openLedger(':memory:')
  ledger.rememberNode('n1', '10.99.0.11', 1)
  t.equal(ledger.isDrained('n1'), false)
  ledger.setDrained('n1', 'drained')
  ledger.rememberNode('n1', '10.99.0.12', 2)
  t.equal(ledger.isDrained('n1'), true)
  t.equal(ledger.nodeAddress('n1'), '10.99.0.12')
})

t.test(
  'a batch gets a number that no other had, with its run or not at all, and keeps its name until it is forgotten',
  async (t) => {
    const path = join(t.testdir(), 'ledger.sqlite')
    const first = openLedger(path)
    const add = (ledger: typeof first, name: string) =>
      ledger.addBatch(name, 'c', (run) => ledger.add({ ...newRun(run.job), beganMs: 0 }))
    t.equal(first.hasGiven(1), false)
    t.same(add(first, 'a'), { batch: 1, name: 'a', content: 'c' })
    t.throws(() => add(first, 'a'), /UNIQUE/)
    const half = () => {
      throw new Error('no run')
    }
    t.throws(() => first.addBatch('b', 'c', half), /no run/)
    t.equal(first.batchNamed('b'), undefined)
    first.close()
    const second = openLedger(path)
    t.match(second.batchOf(batchRun(1)), { name: 'a' })
    t.equal(second.batchOf({ job: 1, restart: 0 }), undefined, 'a job is none')
    second.finish(batchRun(1), 5)
    second.forgetEndedBefore(6)
    t.equal(second.batchNamed('a'), undefined)
    t.equal(add(second, 'a').batch, 2, 'the name is free, the number is not')
    second.adoptBatch({ batch: 9, name: 'taken-up', content: 'd' })
    t.same(
      [1, 2, 3, 8].map((batch) => second.hasGiven(batch)),
      [false, false, false, false],
      'below a number that only nodes knew all may be of another ledger',
    )
    second.adoptBatch({ batch: 12, name: 'next', content: 'd' })
    t.equal(add(second, 'one more').batch, 13)
    second.adoptBatch({ batch: 20, name: 'one more', content: 'd' })
    t.match([second.batchNamed('one more'), second.batchOf(batchRun(20))], [{ batch: 13 }, undefined])
    t.equal(add(second, 'last').batch, 21, 'a name that is taken gives its number to nobody')
    t.same(
      [20, 21, 22].map((batch) => second.hasGiven(batch)),
      [false, true, false],
    )
    second.close()
  },
)

t.test('a ledger that may not know all gives numbers above those of any other', async (t) => {
  const year = 365 * 86_400
  const nowMs = Date.UTC(2027, 0, 1)
  const folder = t.testdir()
  const open = (name: string, ms: number) => openLedger(join(folder, name), () => ms)
  const add = (ledger: ReturnType<typeof openLedger>, name: string) =>
    ledger.addBatch(name, 'c', (run) => ledger.add({ ...newRun(run.job), beganMs: 0 })).batch
  const first = open('first', nowMs)
  first.trust.doubt()
  t.equal(add(first, 'a'), year + 1)
  t.same(
    [year, year + 1, year + 2].map((batch) => first.hasGiven(batch)),
    [false, true, false],
  )
  first.close()
  const again = open('first', nowMs + 50_000)
  t.equal(add(again, 'b'), year + 2, 'one that is trusted counts on')
  const next = open('next', nowMs + 50_000)
  next.trust.doubt()
  t.equal(add(next, 'c'), year + 51)
  const early = open('first', 0)
  early.trust.doubt()
  t.equal(add(early, 'd'), year + 3, 'a clock that is wrong takes nothing back')
  for (const ledger of [again, next, early]) ledger.close()
})

t.test('leases that could not be freed are leased still, and are free when they could be', async (t) => {
  const path = join(t.testdir(), 'ledger.sqlite')
  const ledger = openLedger(path)
  const run = { job: 1, restart: 0 }
  ledger.add(newRun(1))
  ledger.setPlan(run, (leases) => plan(leases.take(pool, 3, run)))
  const other = new DatabaseSync(path)
  other.exec("CREATE TRIGGER full BEFORE UPDATE ON runs BEGIN SELECT RAISE(ROLLBACK, 'database or disk is full'); END")
  t.throws(
    () => ledger.finish(run, 5),
    /disk is full/,
    'what is said is the cause, not that nothing was left to roll back',
  )
  t.same([ledger.leaseCount(), ledger.hasFree(pool, 2)], [3, false])
  other.exec('DROP TRIGGER full')
  other.close()
  ledger.finish(run, 5)
  t.same([ledger.leaseCount(), ledger.hasFree(pool, 4)], [0, true])
})

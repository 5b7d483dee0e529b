import t from 'tap'
import { daemonConfigSchema } from '../../../lib/config/daemon-schema.ts'
import { openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { leasePools, requireRoom } from '../../../lib/daemon/controller/planning/lease-pools.ts'
import { createWaitingRoom } from '../../../lib/daemon/controller/waiting-room.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { silentLog } from '../../../lib/log.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { imageOf } from '../../support/image-of.ts'

const config = daemonConfigSchema.parse({ version: '1', cluster: { name: 'c' }, controller: { host: 'ctl' } })
const image = imageOf('few', { hostnames: { range: 'few-[1-4]' } })
const owner = { uid: 1, gid: 1, user: 'alice', account: '', image: 'few', script: 'guest' as const }

function setUp() {
  const ledger = openLedger(':memory:')
  const slurm = createFakeSlurm()
  const site = { images: new Map([['few', image]]), mayLease: true, ms: 0 }
  const room = createWaitingRoom({
    ...{ ledger, slurm, config, log: silentLog, lookEveryMs: 30_000 },
    images: () => site.images,
    mayLease: () => site.mayLease,
    now: () => site.ms,
  })
  /** A run that holds this many VMs' leases. */
  const hold = (job: number, vms: number) => {
    const run = { job, restart: 0 }
    ledger.add({ ...run, ...owner, deadlineMs: 0, beganMs: 0 })
    ledger.setPlan(run, (leases) => {
      leases.take(leasePools(image, config).hostname, vms, run)
      return { image: 'few', nodes: [] } as unknown as RunPlan
    })
    return run
  }
  const wait = async (job: number, vms: number, name = 'few') => {
    site.ms += 1
    const outcome = await room.enter({ job, restart: 0 }, String(job), { image: name, vms })
    slurm.states.set(job, 'pending')
    return outcome
  }
  const releasedIn = async () => {
    const before = slurm.done.length
    await room.round()
    return slurm.done.slice(before)
  }
  return { ledger, slurm, site, room, hold, wait, releasedIn }
}

t.test('a job is held, and released when what it wants is free', async (t) => {
  const { ledger, slurm, hold, wait, releasedIn } = setUp()
  const holder = hold(1, 4)
  t.equal(await wait(2, 1), 'waits')
  t.same(slurm.done, ['hold 2'])
  t.same(await releasedIn(), [])
  ledger.finish(holder, 5)
  t.same(await releasedIn(), ['release 2'])
  t.same(await releasedIn(), [], 'once')
})

t.test('what is released is kept in mind, so that not all are released for one lease', async (t) => {
  const { ledger, room, hold, wait, releasedIn } = setUp()
  const holder = hold(1, 4)
  for (const [job, vms] of [
    [2, 3],
    [3, 2],
    [4, 1],
  ] as const)
    await wait(job, vms)
  ledger.finish(holder, 5)
  t.same(await releasedIn(), ['release 2', 'release 4'], 'one that has room goes before one that has none')
  const second = hold(2, 3)
  room.leave(2)
  t.same(
    ledger.waiting().map(({ job, state }) => [job, state]),
    [
      [3, 'held'],
      [4, 'released'],
    ],
  )
  ledger.finish(second, 6)
  t.same(await releasedIn(), ['release 3'])
})

t.test('a job that Slurm does not release keeps its room and its place, and holds up no other', async (t) => {
  const { ledger, slurm, site, hold, wait, releasedIn } = setUp()
  const holder = hold(1, 4)
  for (const job of [2, 3, 4]) await wait(job, 2)
  ledger.finish(holder, 5)
  const { release } = slurm
  slurm.release = async (selector) => {
    if (selector === '2') throw new VmrmError('command-failed', 'scontrol release ended with 1')
    await release(selector)
  }
  t.same(await releasedIn(), ['release 3'])
  slurm.release = release
  site.ms += 30_000
  t.same(await releasedIn(), ['release 2'])
})

t.test('a job that has to wait again keeps its place', async (t) => {
  const { ledger, hold, wait } = setUp()
  hold(1, 4)
  for (const job of [2, 3, 2]) await wait(job, 1)
  t.same(
    ledger.waiting().map(({ job }) => job),
    [2, 3],
  )
})

t.test('a job that Slurm does not requeue does not wait', async (t) => {
  const { ledger, slurm, wait } = setUp()
  slurm.state = 'down'
  t.equal(await wait(2, 1), 'refused')
  t.same(ledger.waiting(), [])
})

t.test('jobs that are over are forgotten, and nothing is released while nothing may be leased', async (t) => {
  const { ledger, slurm, site, wait, releasedIn } = setUp()
  await wait(2, 0, '')
  await wait(3, 1)
  slurm.states.set(3, 'ended')
  site.mayLease = false
  t.same(await releasedIn(), [])
  site.mayLease = true
  t.same(await releasedIn(), ['release 2'], 'one that waits for nothing but leave')
  t.same(
    ledger.waiting().map(({ job }) => job),
    [2],
  )
})

t.test('a job that is over and cannot be forgotten holds up no other, and is forgotten later', async (t) => {
  const { ledger, slurm, site, wait, releasedIn } = setUp()
  for (const job of [2, 3]) await wait(job, 1)
  slurm.states.set(2, 'ended')
  const { leaveWaiting } = ledger
  ledger.leaveWaiting = () => {
    throw new Error('database or disk is full')
  }
  const jobs = () => ledger.waiting().map(({ job }) => job)
  t.same(await releasedIn(), ['release 3'])
  t.same(jobs(), [2, 3])
  ledger.leaveWaiting = leaveWaiting
  site.ms += 30_000
  t.same(await releasedIn(), [])
  t.same(jobs(), [3])
})

t.test('a job whose image is gone is released, to fail with the sentence that says so', async (t) => {
  const { site, hold, wait, releasedIn } = setUp()
  hold(1, 4)
  await wait(2, 1)
  site.images.clear()
  t.same(await releasedIn(), ['release 2'])
})

t.test('nobody waits for more than a whole range', async (t) => {
  const pools = leasePools(image, config)
  requireRoom(pools, 4)
  t.throws(() => requireRoom(pools, 5), { code: 'range-full', message: /5 wanted, there are 4 in all/, until: 'never' })
})

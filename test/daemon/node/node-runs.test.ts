import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { createNodeHandlers } from '../../../lib/daemon/node/node-handlers.ts'
import { openJournal } from '../../../lib/daemon/node/runs/journal.ts'
import { NodeRuns } from '../../../lib/daemon/node/runs/node-runs.ts'
import { createAdmit } from '../../../lib/daemon/node/tasks/admit.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { batchRun } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import { writeMessage } from '../../../lib/protocol/envelope.ts'
import { createFakeController, shareFor } from '../../fakes/controller-link.ts'
import { createFakeVmMaker } from '../../fakes/vm-maker.ts'
import { until } from '../../support/until.ts'

const run = { job: 7, restart: 0 }
const request = { ...run, uid: 2001, gid: 2001, user: 'alice', script: 'guest' as const }

function setUp(t: Test, limits: { prepareMs?: number; shareMs?: number } = {}) {
  const folder = join(t.testdir({ runs: {}, markers: {} }), 'runs')
  const maker = createFakeVmMaker()
  const controller = createFakeController()
  const told: string[] = []
  const adopted: string[] = []
  /** A daemon; a second one on the same folder is the first one's restart. */
  const start = () =>
    new NodeRuns({
      journal: openJournal({ runsFolder: folder, log: silentLog }),
      controller,
      maker,
      log: silentLog,
      node: 'n1',
      prepareMs: limits.prepareMs ?? 5000,
      shareMs: limits.shareMs ?? 5000,
      adoptMs: 1000,
      firstUid: 600_000,
      otherUids: () => [],
      uidCount: 2,
      onGone: (_run, text) => told.push(text),
      onAdopted: (run) => adopted.push(run.name),
      now: () => Date.now(),
    })
  return { folder, maker, controller, told, adopted, start, runs: start() }
}

t.test('prepare, commit, remove: nothing is left', async (t) => {
  const { runs, maker, controller, folder, told } = setUp(t)
  t.same(await runs.prepare(request), { outcome: 'prepared' })
  t.same(await runs.prepare(request), { outcome: 'prepared' }, 'asked again it answers the same')
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  t.equal(runs.ofJob(7)?.entry.state, 'committed')
  await runs.applyVerdict(run, { verdict: 'abort', reason: 'too late' })
  t.equal(runs.ofJob(7)?.entry.state, 'committed', 'a decision is final')
  await runs.remove(run)
  t.same([...maker.existing], [])
  t.same(readdirSync(folder), [])
  t.same(controller.reports, ['prepared j7r0', 'ended j7r0'])
  t.same(told, ['vmrm: the job has ended\n'], 'a task that is still there is told, and its VM forgotten')
  await runs.remove(run)
})

t.test('a failure is told, what was made is removed, and the reason stays for the tasks', async (t) => {
  const { runs, maker, controller } = setUp(t)
  maker.onMake = async () => {
    throw new VmrmError('vm-boot-timeout', 'VM j7r0v0 on node n1 did not answer', { quoted: 'Kernel panic' })
  }
  const answer = await runs.prepare(request)
  t.match(answer, {
    outcome: 'refused',
    reason: /^vmrm: VM j7r0v0 on node n1 did not answer\n(.*\n)*vmrm: {3}\| Kernel panic\n$/,
  })
  t.same([...maker.existing], [])
  t.same(controller.reports, ['failed vm-boot-timeout j7r0'])
  t.equal(runs.ofJob(7)?.entry.state, 'refused')
  t.same(await runs.prepare(request), answer)
})

t.test("a node's own fault is Slurm's matter only when the controller cannot be told", async (t) => {
  for (const [state, outcome] of [
    ['up', 'refused'],
    ['down', 'node-fault'],
  ] as const) {
    const { runs, maker, controller } = setUp(t)
    maker.onMake = async () => {
      controller.state = state
      throw new VmrmError('libvirt-unreachable', 'libvirtd does not answer on this node')
    }
    t.match(await runs.prepare(request), { outcome })
  }
})

t.test(
  'a failure is told until the controller has heard, again after a restart, and no more once the run is over',
  async (t) => {
    const { runs, maker, controller, start } = setUp(t)
    const triesOf = (job: number) => controller.tried.filter((name) => name === `j${job}r0`).length
    const refuse = async (of: NodeRuns, job: number) => {
      controller.state = 'up'
      maker.onMake = async () => {
        controller.state = 'down'
        throw new VmrmError('vm-boot-timeout', 'VM j7r0v0 on node n1 did not answer', { quoted: 'Kernel panic' })
      }
      t.match(await of.prepare({ ...request, job }), { outcome: 'refused' })
    }
    await refuse(runs, 7)
    t.match(runs.ofJob(7)?.entry.failure, { code: 'vm-boot-timeout', reason: /did not answer\nKernel panic$/ })
    await until('it is tried again', () => triesOf(7) > 3)
    t.same(controller.reports, [])
    controller.state = 'up'
    await until('the controller has heard', () => controller.reports.length > 0)
    const heard = triesOf(7)
    await refuse(runs, 8)
    await until('another one is tried again', () => triesOf(8) > 3)
    t.equal(triesOf(7), heard, 'and that is enough')
    await runs.remove({ job: 8, restart: 0 })
    const over = triesOf(8)

    const next = start()
    await (await next.recover()).done
    controller.state = 'up'
    const failed = () => controller.reports.filter((line) => line === 'failed vm-boot-timeout j7r0').length
    await until('the next daemon has told', () => failed() > 1)
    await refuse(next, 9)
    await until('another one is tried again', () => triesOf(9) > 3)
    t.same([failed(), triesOf(8)], [2, over])
    await next.remove({ job: 9, restart: 0 })
  },
)

t.test('a batch of which a node is at fault is told of again, for no Prolog tells of it', async (t) => {
  const { runs, maker, controller } = setUp(t)
  maker.onMake = async () => {
    controller.state = 'down'
    throw new VmrmError('libvirt-unreachable', 'libvirtd does not answer on this node')
  }
  t.match(await runs.prepare(batchRequest), { outcome: 'refused' })
  controller.state = 'up'
  await until('the controller has heard', () => controller.reports.length > 0)
  t.same(controller.reports, ['failed libvirt-unreachable b7r0'])
})

t.test('what was refused before there was a plan is refused after a restart, too', async (t) => {
  const { runs, start, controller } = setUp(t, { shareMs: 100 })
  controller.state = 'down'
  t.match(await runs.prepare(request), { outcome: 'refused' })
  controller.state = 'up'
  const next = start()
  await (await next.recover()).done
  t.match(await next.prepare(request), { outcome: 'refused', reason: /the controller is down/ })
})

t.test('a controller that is down is waited for, but not for ever', async (t) => {
  const { runs, controller } = setUp(t, { shareMs: 300 })
  controller.state = 'down'
  t.match(await runs.prepare(request), { outcome: 'refused', reason: /the controller is down/ })
  const other = setUp(t)
  other.controller.state = 'down'
  const preparing = other.runs.prepare(request)
  await delay(50)
  other.controller.state = 'up'
  t.same(await preparing, { outcome: 'prepared' })
})

/** A slow machine may come here after the end. */
const untilAborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })

t.test('a user mistake that the hook saw is the answer, and nothing is made', async (t) => {
  const { runs, maker } = setUp(t)
  const answer = await runs.prepare({ ...request, refusal: 'VMRM_IMAGE has a value that cannot be used' })
  t.match(answer, { outcome: 'refused', reason: /VMRM_IMAGE/ })
  t.same([...maker.existing], [])
})

t.test('an abort or the end of the job stops a creation at once', async (t) => {
  for (const how of ['abort', 'end'] as const) {
    const { runs, maker, folder } = setUp(t)
    maker.onMake = untilAborted
    const preparing = runs.prepare(request)
    while (maker.existing.size === 0) await delay(5)
    if (how === 'abort') await runs.applyVerdict(run, { verdict: 'abort', reason: 'node n2 failed' })
    else await runs.remove(run)
    t.match(await preparing, { outcome: 'refused' })
    if (how === 'abort') t.match(runs.ofJob(7)?.entry, { state: 'refused', reason: /node n2 failed/ })
    else t.same(readdirSync(folder), [])
    await runs.remove(run)
    t.same([...maker.existing], [])
  }
})

t.test('a creation that is too slow ends at its deadline', async (t) => {
  const { runs, maker } = setUp(t, { prepareMs: 100 })
  maker.onMake = untilAborted
  t.match(await runs.prepare(request), { outcome: 'refused', reason: /not ready after 0\.1 s/ })
})

t.test('a VM that ends by itself ends the run, once, with its console', async (t) => {
  const { runs, told, controller } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  await Promise.all([runs.vmStopped('j7r0v0', 'crashed'), runs.vmStopped('j9r0v0', 'crashed')])
  t.equal(told.length, 1)
  t.match(told[0], /VM j7r0v0 on node n1 ended while the job ran: crashed[\s\S]*\| Kernel panic/)
  t.ok(controller.reports.includes('lost j7r0'))
})

t.test('a task that waits for the verdict is refused when the controller knows why, not before', async (t) => {
  const { runs, controller } = setUp(t)
  await runs.prepare(request)
  const report = Promise.withResolvers<void>()
  controller.reportLost = () => report.promise
  const admit = createAdmit({
    findRun: (job) => runs.ofJob(job),
    ...{ askVerdict: () => {}, imageOf: () => undefined, machineCpus: () => undefined },
    ...{ taskProlog: async () => undefined, verdictMs: 5000, askEveryMs: 1000, node: 'n1', log: silentLog },
  })
  const events: string[] = []
  const attach = { jobId: '7', uid: 2001 } as Parameters<typeof admit>[0]
  const asking = admit(attach, new AbortController().signal).then((admission) => {
    events.push('refused')
    return admission
  })
  const stopped = runs.vmStopped('j7r0v0', 'crashed')
  await until('the loss in the journal', () => runs.ofJob(7)?.entry.state === 'lost')
  await delay(20)
  events.push('told')
  report.resolve()
  t.match(await asking, { outcome: 'refused', text: /^vmrm: VM j7r0v0 on node n1 ended while the job ran: crashed$/m })
  t.same(events, ['told', 'refused'])
  await stopped
})

t.test('a loss that the controller was not there to hear of is told when it is back', async (t) => {
  const { runs, controller } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  controller.state = 'down'
  await runs.vmStopped('j7r0v0', 'crashed')
  t.notOk(controller.reports.includes('lost j7r0'))
  controller.state = 'up'
  await runs.reconcile()
  t.ok(controller.reports.includes('lost j7r0'))
  t.equal(runs.ofJob(7)?.entry.state, 'lost')
})

t.test('a loss that is slow to tell touches nothing once the run was removed', async (t) => {
  const { runs, maker, controller } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  const reporting = Promise.withResolvers<void>()
  const report = Promise.withResolvers<void>()
  controller.reportLost = () => {
    reporting.resolve()
    return report.promise
  }
  const stopped = runs.vmStopped('j7r0v0', 'crashed')
  await reporting.promise
  await runs.remove(run)
  report.resolve()
  await stopped
  await runs.prepare({ ...request, job: 8 })
  t.same(maker.removals, ['j7r0'])
})

t.test('a restart adopts what runs, finishes what was ending, and drops half a creation', async (t) => {
  const { runs, start, maker, told, adopted } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  const next = start()
  await (await next.recover()).done
  t.same(adopted, ['j7r0'])
  t.match(next.ofJob(7), { entry: { state: 'committed' } })
  t.equal(next.ofJob(7)?.vms.size, 1)
  t.same(told, [], 'no task hears of it')
  maker.onRemove = async () => {
    throw new VmrmError('node-fault', 'VM j7r0v0 cannot be destroyed')
  }
  await t.rejects(next.remove(run), { code: 'node-fault' })
  maker.onRemove = async () => {}
  const third = start()
  await (await third.recover()).done
  t.equal(third.ofJob(7), undefined)
  t.same([...maker.existing], [])
})

t.test('one run that is slow to be taken up holds up no other job, and its own tasks wait', async (t) => {
  const { runs, start, maker } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  let answer = () => {}
  const silent = new Promise<void>((resolve) => {
    answer = resolve
  })
  const adopt = maker.adopt
  maker.adopt = async (...args) => {
    await silent
    return adopt(...args)
  }
  const next = start()
  const { done } = await next.recover()
  t.same(await next.prepare({ ...request, job: 8 }), { outcome: 'prepared' })
  const taken = next.ofJob(7)
  t.equal(taken?.vmAt(0), undefined)
  const stop = new AbortController()
  const waiting = taken?.idle(stop.signal) ?? Promise.resolve()
  stop.abort(new Error('the task went away'))
  await t.rejects(waiting, /the task went away/)
  answer()
  await taken?.idle(new AbortController().signal)
  t.ok(taken?.vmAt(0))
  await done
})

t.test('a restart notices VMs that ended meanwhile', async (t) => {
  const { runs, start, maker, told } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  maker.existing.clear()
  const next = start()
  await (await next.recover()).done
  t.match(next.ofJob(7)?.entry, { state: 'lost', reason: /ended while vmrmd was down/ })
  t.equal(told.length, 1)
})

t.test('a journal that cannot be read is removed with what belongs to it', async (t) => {
  const { runs, start, maker, folder } = setUp(t)
  await runs.prepare(request)
  writeFileSync(join(folder, 'j7r0', 'journal.json'), '{"version":1,')
  const next = start()
  await (await next.recover()).done
  t.same([...maker.existing], [])
  t.same(readdirSync(folder), [])
})

t.test('reconciling removes what the controller says is over, and strays', async (t) => {
  const { runs, maker, controller } = setUp(t)
  await runs.prepare(request)
  maker.existing.add('j99r0')
  await runs.reconcile()
  t.equal(runs.ofJob(7)?.entry.state, 'committed', 'a verdict whose push was lost is caught up with')
  t.same([...maker.existing], ['j7r0'])
  controller.verdict = 'ended'
  await runs.reconcile()
  t.same([...maker.existing], [])
  controller.state = 'down'
  await t.rejects(runs.reconcile(), { code: 'controller-unreachable' })
})

t.test('a verdict that is learnt by a hello comes with its reason', async (t) => {
  for (const [verdict, state] of [
    ['abort', 'refused'],
    ['lost', 'lost'],
  ] as const) {
    const { runs, controller } = setUp(t)
    await runs.prepare(request)
    Object.assign(controller, { verdict, reason: 'VM j7r0v1 on node n2 is gone' })
    await runs.reconcile()
    t.match(runs.ofJob(7)?.entry, { state, reason: /VM j7r0v1 on node n2 is gone/ }, `${verdict} of a prepared run`)
    await runs.remove(run)
  }
})

t.test('a run that cannot be removed holds up neither the others nor the strays', async (t) => {
  const { runs, maker, controller } = setUp(t)
  await runs.prepare(request)
  await runs.prepare({ ...request, job: 8 })
  controller.verdict = 'ended'
  maker.existing.add('j99r0')
  let failures = 1
  maker.onRemove = async () => {
    if (failures-- > 0) throw new VmrmError('node-fault', 'VM j7r0v0 cannot be destroyed')
  }
  await runs.reconcile()
  t.equal(maker.existing.size, 1)
  t.notOk(maker.existing.has('j99r0'))
  await runs.reconcile()
  t.same([...maker.existing], [])
})

t.test('a removal that hangs holds up no verdict on another run', async (t) => {
  const { runs, maker, controller } = setUp(t)
  await runs.prepare(request)
  await runs.prepare({ ...request, job: 8 })
  const removed = Promise.withResolvers<void>()
  maker.onRemove = () => removed.promise
  controller.verdictOf = ({ job }) => (job === 7 ? 'ended' : 'commit')
  const round = runs.reconcile()
  await until('the other one is committed', () => runs.ofJob(8)?.entry.state === 'committed')
  removed.resolve()
  await round
  t.equal(runs.ofJob(7), undefined)
})

t.test('a removal that cannot be finished after a restart is no loss', async (t) => {
  const { runs, start, maker, controller } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  maker.onRemove = async () => {
    throw new VmrmError('libvirt-unreachable', 'libvirtd does not answer')
  }
  await t.rejects(runs.remove(run), { code: 'libvirt-unreachable' })
  const next = start()
  await (await next.recover()).done
  t.equal(next.ofJob(7)?.entry.state, 'removing')
  t.notOk(controller.reports.includes('lost j7r0'))
  maker.onRemove = async () => {}
  await next.remove(run)
  t.same([...maker.existing], [])
})

t.test('a loss of which the controller has not heard is told, whatever is decided by then', async (t) => {
  for (const verdict of ['pending', 'commit'] as const) {
    const { runs, controller } = setUp(t)
    controller.verdict = 'pending'
    await runs.prepare(request)
    controller.state = 'down'
    await runs.vmStopped('j7r0v0', 'crashed')
    Object.assign(controller, { state: 'up', verdict })
    await runs.reconcile()
    t.same(controller.losses, ['j7r0v0'], verdict)
  }
})

t.test('whatever a reason holds, the hook gets its answer', async (t) => {
  const { runs, maker } = setUp(t)
  const quoted = `\u0001\uffff${'a line\n'.repeat(5000)}`
  maker.onMake = async () => {
    throw new VmrmError('identity-failed', 'VM j7r0v0 could not take on its identity', { quoted })
  }
  const handlers = createNodeHandlers({
    runs,
    node: 'n1',
    markers: join(t.testdirName, 'markers'),
    readConsole: async (_run, _vm, offset) => ({ offset, end: offset, data: new Uint8Array() }),
    health: () => 'ready',
    trustedUids: [0],
  })
  const reply = await handlers['node-prepare'](request)
  t.equal(reply.outcome, 'refused')
  t.match(writeMessage({ id: 1, kind: 'reply', type: 'node-prepare' }, reply), /could not take on its identity/)
})

t.test('a run that is over before its Prolog began is expected no more, one that is under way still is', async (t) => {
  const { runs } = setUp(t)
  const markers = join(t.testdirName, 'markers')
  const readConsole = async () => ({ offset: 0, end: 0, data: new Uint8Array() })
  const handlers = createNodeHandlers({
    runs,
    readConsole,
    node: 'n1',
    markers,
    health: () => 'ready',
    trustedUids: [0],
  })
  const hasMarker = () => readdirSync(markers).includes('7')
  await handlers['expect-run']({ ...run, script: 'guest' })
  await handlers.verdict({ ...run, verdict: 'abort' })
  t.ok(hasMarker(), 'its tasks have to read why')
  await handlers.verdict({ ...run, verdict: 'ended' })
  t.notOk(hasMarker())
  await handlers['expect-run']({ ...run, script: 'guest' })
  await runs.prepare(request)
  await handlers.verdict({ ...run, verdict: 'ended' })
  t.ok(hasMarker(), "the gate's Epilog takes it away")
  await handlers['destroy-run'](run)
  t.notOk(hasMarker())
})

t.test('a newer run of the job removes the older one first', async (t) => {
  const { runs, maker } = setUp(t)
  await runs.prepare(request)
  t.same(await runs.prepare({ ...request, restart: 1 }), { outcome: 'prepared' })
  t.same([...maker.existing], ['j7r1'])
  await runs.remove(run)
  t.same([...maker.existing], ['j7r1'], 'a late Epilog of the older run touches nothing')
  await runs.remove({ job: 7, restart: 1 })
})

t.test('each run has a uid of its own, and a node that has none left says so', async (t) => {
  const { runs } = setUp(t)
  await runs.prepare(request)
  await runs.prepare({ ...request, job: 8 })
  t.same(
    runs.all().map((each) => each.entry.qemuUid),
    [600_000, 600_001],
  )
  t.match(await runs.prepare({ ...request, job: 9 }), { outcome: 'refused', reason: /all 2 uids for QEMU are in use/ })
})

t.test('a VM that ends while others are still made fails the run', async (t) => {
  const { runs, maker, controller } = setUp(t)
  maker.onMake = async () => runs.vmStopped('j7r0v0', 'its QEMU crashed or was killed')
  t.match(await runs.prepare(request), {
    outcome: 'refused',
    reason: /^vmrm: VM j7r0v0 on node n1 ended before all VMs were ready: its QEMU crashed or was killed\n/,
  })
  t.same([...maker.existing], [])
  t.same(controller.reports, ['failed vm-lost j7r0'])
})

t.test("a disk without room is the job's failure, not the node's fault", async (t) => {
  const { runs, maker } = setUp(t)
  maker.onMake = async () => {
    throw Object.assign(new Error('ENOSPC: no space left on device, mkdir'), { code: 'ENOSPC' })
  }
  t.match(await runs.prepare(request), {
    outcome: 'refused',
    reason: /^vmrm: node n1 has no room for the files of a VM/,
  })
})

t.test('what another node quotes is marked as a quotation', async (t) => {
  const { runs, told } = setUp(t)
  await runs.prepare(request)
  await runs.applyVerdict(run, { verdict: 'commit', reason: '' })
  await runs.applyVerdict(run, { verdict: 'lost', reason: 'VM j7r0v1 on node n2 is gone\nKernel panic' })
  t.same(told, ['vmrm: VM j7r0v1 on node n2 is gone\nvmrm:   | Kernel panic\n'])
})

t.test('a node whose report is not heard goes on reporting and does not decide', async (t) => {
  const { runs, maker, controller } = setUp(t)
  maker.onMake = async () => {
    controller.state = 'down'
  }
  t.same(await runs.prepare(request), { outcome: 'prepared' })
  t.equal(runs.ofJob(7)?.entry.state, 'prepared')
  controller.state = 'up'
  await until('the verdict', () => runs.ofJob(7)?.entry.state === 'committed')
  t.same(controller.reports, ['prepared j7r0'])
  // It is in memory before it is on disk, where it must not come after the test.
  await runs.remove(run)
})

t.test('a Prolog that asks again while a restart removes half a creation has it made anew', async (t) => {
  const { runs, start, maker } = setUp(t)
  const begun = Promise.withResolvers<void>()
  maker.onMake = () => {
    begun.resolve()
    return new Promise(() => {}) // this daemon is killed here
  }
  void runs.prepare(request)
  await begun.promise
  maker.onMake = async () => {}
  const removed = Promise.withResolvers<void>()
  maker.onRemove = () => removed.promise
  const next = start()
  const { done } = await next.recover()
  const prepared = next.prepare(request)
  removed.resolve()
  await done
  t.same(await prepared, { outcome: 'prepared' })
  t.equal(next.ofJob(7)?.vms.size, 1, 'and the node knows it')
  maker.onRemove = async () => {}
  await next.remove(run)
  t.same([...maker.existing], [])
})

const batch = { name: 'build-42', content: 'c' }
const batchRequest = { ...request, ...batchRun(7), batch }

t.test('a VM that a running batch loses ends no other, and the controller hears of it once it can', async (t) => {
  const { runs, maker, controller, told, start } = setUp(t)
  const layout = { vms: '2', hostnames: 'tiny-[0001+2]', addresses: '10.77.0.2+2', macs: '52:54:76:00:00:01+2' }
  controller.answer = (of) => ({ state: 'share', share: shareFor(of, layout) })
  t.same(await runs.prepare(batchRequest), { outcome: 'prepared' })
  await runs.applyVerdict(batchRun(7), { verdict: 'commit', reason: '' })
  controller.state = 'down'
  await runs.vmStopped('b7r0v1', 'the guest powered off')
  const live = runs.ofJob(batchRun(7).job)
  t.match(live?.entry, { state: 'committed', missing: [{ vm: 'b7r0v1', reason: 'the guest powered off' }], batch })
  t.same([...(live?.vms.keys() ?? [])], [0])
  t.same([maker.removals, told], [[], []])
  controller.state = 'up'
  await runs.reconcile()
  await runs.reconcile()
  t.same(controller.reports, ['prepared b7r0', 'lost b7r0'])

  const again = start()
  await (await again.recover()).done
  t.equal(again.ofJob(batchRun(7).job)?.entry.state, 'committed')
  maker.existing.clear()
  const last = start()
  await (await last.recover()).done
  const all = last.ofJob(batchRun(7).job)?.entry.missing?.map(({ vm }) => vm)
  t.same(
    all,
    ['b7r0v1', 'b7r0v0'],
    'after the end of the machine all of its VMs are lost, and the batch is still there',
  )
})

t.test(
  'what a best-effort batch is made without is no loss, and a VM lost before the decision is told after it',
  async (t) => {
    const { runs, maker, controller } = setUp(t)
    const layout = { vms: '3', hostnames: 'tiny-[0001+3]', addresses: '10.77.0.2+3', macs: '52:54:76:00:00:01+3' }
    const share = { ...shareFor(batchRun(7), layout), strategy: 'best-effort' as const }
    controller.answer = () => ({ state: 'share', share })
    maker.onMake = async () => void runs.ofJob(batchRun(7).job)?.missing.set('b7r0v1', 'it did not answer')
    controller.verdict = 'pending'
    t.same(await runs.prepare(batchRequest), { outcome: 'prepared' })
    await runs.vmStopped('b7r0v2', 'the guest powered off')
    await runs.reconcile()
    t.same(controller.reports, ['prepared b7r0'], 'other nodes still prepare')
    await runs.applyVerdict(batchRun(7), { verdict: 'commit', reason: '' })
    await runs.reconcile()
    t.same(controller.losses, ['b7r0v1', 'b7r0v2'], 'the controller knows which of them it has heard of')
  },
)

t.test('a whole batch that loses a VM before the decision is told of at once', async (t) => {
  const { runs, controller } = setUp(t)
  controller.verdict = 'pending'
  await runs.prepare(batchRequest)
  await runs.vmStopped('b7r0v0', 'the guest powered off')
  t.same(controller.losses, ['b7r0v0'])
})

t.test('a batch that was destroyed before this node heard of it is not made', async (t) => {
  const { runs, maker, controller } = setUp(t)
  await runs.remove(batchRun(7))
  t.match(await runs.prepare(batchRequest), { outcome: 'refused' })
  t.same([[...maker.existing], controller.reports], [[], []])
})

t.test('a node that will not make a batch says so, although nobody waits for its answer', async (t) => {
  const { runs, controller, maker } = setUp(t)
  await runs.remove(batchRun(7))
  runs.prepareUnattended(batchRequest)
  await until('the controller has heard', () => controller.reports.length > 0)
  const other = { ...batchRequest, ...batchRun(8) }
  maker.onMake = async () => {
    throw new VmrmError('vm-boot-timeout', 'VM b8r0v0 on node n1 did not answer')
  }
  await runs.prepare(other)
  runs.prepareUnattended(other)
  await until('it has heard again', () => controller.reports.length > 2)
  t.same(controller.reports, ['failed run-ended b7r0', 'failed vm-boot-timeout b8r0', 'failed run-ended b8r0'])
})

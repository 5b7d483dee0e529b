// Slurm's commands that a guest has run on the host: who may serve which, for whom, and what a guest or user that lies gets by it.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { GuestChannel } from '../../lib/guest/channel/channel.ts'
import { encodeFields, u32Field, u64Field } from '../../lib/guest/frame/fields.ts'
import { type FrameFields, frameType, streamNumber } from '../../lib/guest/frame/frame.ts'
import { TokenBucket } from '../../lib/guest/frame/token-bucket.ts'
import type { CallRequest } from '../../lib/guest/relay/admission.ts'
import { TaskServer } from '../../lib/guest/relay/task-server.ts'
import { maxCalls } from '../../lib/guest/relay/vm-calls.ts'
import { silentLog } from '../../lib/log.ts'
import { until } from '../support/until.ts'
import { callFrame, FakeGuest, RawClient } from './fake-guest.ts'

const attach = (session: bigint): FrameFields => ({
  type: frameType.attach,
  session,
  payload: encodeFields([
    [1, '7'],
    [2, u32Field(0)],
    [3, u32Field(1)],
  ]),
})

const serve = (session: bigint, parent: bigint, options: { job?: string; resumed?: boolean } = {}): FrameFields => ({
  type: frameType.serve,
  session,
  payload: encodeFields([
    [1, options.job ?? '7'],
    [2, u64Field(parent)],
    ...(options.resumed === true ? [[3, ''] as const] : []),
  ]),
})

const task = 70n

/** A node with one VM, and one task of uid 1000 attached in it. The uid of the next connection is `uid`. */
async function setUp(t: Test, options: { orphanGraceMs?: number; calls?: 'allowed' | 'refused' } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-test-calls-'))
  const guest = new FakeGuest()
  await guest.listen(join(folder, 'port'))
  const state = { uid: 1000, requests: [] as CallRequest[] }
  const path = join(folder, 'task.sock')
  const start = async () => {
    const channel = new GuestChannel({ path: join(folder, 'port'), vm: 'j7r0v0', log: silentLog, helloIntervalMs: 20 })
    const server = new TaskServer({
      ...{ path, log: silentLog, orphanGraceMs: options.orphanGraceMs ?? 100 },
      peerCredentials: () => ({ uid: state.uid, gid: state.uid, pid: 0 }),
      admit: async () => ({
        ...{ outcome: 'attached', vm: 'j7r0v0', hostname: 'vm0', channel, calls: options.calls ?? 'allowed' },
      }),
      admitCall: async (request) => {
        state.requests.push(request)
        if (request.command === 'bash') return { outcome: 'refused', text: 'vmrm: not that one\n', exitCode: 1 }
        return { outcome: 'admitted', program: '/usr/bin/squeue', folder: '/calls' }
      },
    })
    // As a node's vmrmd does it: the channel is there before anyone takes its frames.
    await channel.open(AbortSignal.timeout(10_000))
    server.attachChannel(channel)
    await server.listen()
    return { channel, server }
  }
  let daemon = await start()
  const stop = async () => {
    daemon.channel.close()
    await daemon.server.close()
  }
  t.teardown(async () => {
    await stop()
    guest.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const connect = (uid = 1000) => {
    state.uid = uid
    return RawClient.connect(path)
  }
  const attached = async (session = task, uid = 1000) => {
    const client = await connect(uid)
    client.send(attach(session))
    await client.got(frameType.attached)
    return client
  }
  const serving = async (session: bigint, parent = task, uid = 1000, more = {}) => {
    const client = await connect(uid)
    client.send(serve(session, parent, more))
    return client
  }
  /** What it is told; a vmrmd that was just started drops it first, so it comes again as vmrm-run does. */
  const refused = async (session: bigint, parent = task, uid = 1000, more = {}) => {
    const answer = async () => {
      const server = await serving(session, parent, uid, more)
      await server.closed
      return server.frames.length > 0 ? server : undefined
    }
    return (await until('a REFUSED', answer)).refusal()
  }
  const restart = async () => {
    await stop()
    daemon = await start()
  }
  return { guest, state, attached, serving, refused, restart, channel: () => daemon.channel }
}

t.test(
  'a call goes to its task, its server is told what to run, and frames go both ways until its caller closes',
  async (t) => {
    const { guest, attached, serving, state } = await setUp(t)
    const run = await attached()
    guest.call(task, 900n)
    t.equal((await run.got(frameType.call)).session, task)
    const server = await serving(900n)
    t.equal(await server.attached(4), '/usr/bin/squeue')
    t.equal(await server.attached(5), '/calls')
    t.same(state.requests, [{ jobId: '7', vm: 'j7r0v0', command: 'squeue', uid: 1000 }])
    server.send({ type: frameType.resume, session: 900n })
    await until('RESUME', () => guest.of(900n, frameType.resume).length === 1)
    const spec = { type: frameType.data, session: 900n, stream: streamNumber.spec, payload: Buffer.from('spec') }
    guest.send({ type: frameType.open, session: 900n }, spec)
    t.equal((await server.got(frameType.data)).payload.toString(), 'spec')
    server.send({ type: frameType.exit, session: 900n })
    await until('EXIT', () => guest.of(900n, frameType.exit).length === 1)
    guest.send({ type: frameType.close, session: 900n })
    await server.got(frameType.close)
    server.end()
    guest.call(task, 900n)
    await run.got(frameType.call, 2)
    t.equal(
      guest.of(900n, frameType.kill).length,
      0,
      'an end in good order kills nothing, and the number is free again',
    )
  },
)

t.test('nothing is run without a task of the job', async (t) => {
  const { guest, attached, serving, refused } = await setUp(t)
  guest.call(task, 900n)
  t.match(await guest.killed(900n), /no task of the job/)
  t.match(await refused(900n), /has ended/)
  const run = await attached()
  guest.call(task, 901n)
  await run.got(frameType.call)
  const server = await serving(901n)
  await server.got(frameType.attached)
  run.send({ type: frameType.close, session: task })
  await server.closed
  await guest.killed(901n)
  guest.call(task, 902n)
  t.match(await guest.killed(902n), /no task of the job/, 'CLOSE of the task is its end')
})

t.test('a task that loses its vmrm-run takes its calls along, and a call its server', async (t) => {
  const { guest, attached, serving } = await setUp(t)
  const run = await attached()
  guest.call(task, 900n)
  guest.call(task, 901n)
  await run.got(frameType.call, 2)
  const [first, second] = [await serving(900n), await serving(901n)]
  await first.got(frameType.attached)
  await second.got(frameType.attached)
  first.end()
  await guest.killed(900n)
  t.equal(guest.of(901n, frameType.kill).length, 0)
  run.end()
  await second.closed
  await guest.killed(901n)
  await guest.killed(task)
})

t.test('only the task’s own user serves a call, once, for the job and task it came from', async (t) => {
  const { guest, attached, serving, refused, state } = await setUp(t)
  const run = await attached()
  await attached(71n)
  const others = await attached(80n, 1001)
  guest.call(task, 900n)
  await run.got(frameType.call)
  const wrong: [string, Parameters<typeof refused>][] = [
    ['another uid', [900n, task, 1001]],
    ['root', [900n, task, 0]],
    ['another user’s own task', [900n, 80n, 1001]],
    ['another task', [900n, 71n]],
    ['another job', [900n, task, 1000, { job: '8' }]],
    ['a call nobody asked for', [901n, task]],
    ['the task’s own number', [71n, task, 1000, { resumed: true }]],
  ]
  for (const [what, request] of wrong) t.match(await refused(...request), /has ended/, what)
  t.match(await refused(902n, task, 1000, { resumed: true }), /has ended/, 'a running one of his own making')
  t.same(state.requests, [])
  const server = await serving(900n)
  await server.got(frameType.attached)
  t.match(await refused(900n), /has ended/, 'a second server')
  t.equal(others.frames.filter((frame) => frame.type === frameType.call).length, 0)
})

t.test('a task whose vmrm-run is somebody else’s, such as root’s, is never asked', async (t) => {
  const { guest, attached, refused } = await setUp(t, { calls: 'refused' })
  const run = await attached(task, 0)
  guest.call(task, 900n)
  t.match(await guest.killed(900n), /not run for this task/)
  t.match(await refused(900n, task, 0), /has ended/)
  t.equal(run.frames.filter((frame) => frame.type === frameType.call).length, 0)
})

t.test('what is not allowed is refused to both ends in words', async (t) => {
  const { guest, attached, serving } = await setUp(t)
  const run = await attached()
  guest.call(task, 900n, 'bash')
  await run.got(frameType.call)
  const server = await serving(900n)
  t.equal(await server.refusal(), 'vmrm: not that one\n')
  t.equal(await guest.killed(900n), 'not that one')
})

t.test('a guest has no more calls than its share, those included whose servers have not come', async (t) => {
  const { guest, attached, refused } = await setUp(t)
  const run = await attached()
  for (let at = 0n; at < BigInt(maxCalls) + 10n; at++) guest.call(task, 1000n + at)
  t.match(await guest.killed(1000n + BigInt(maxCalls)), /128 of Slurm’s commands run in this VM already/)
  await run.got(frameType.call, maxCalls)
  // Closed before they are served: their servers are still being started, and are counted until they come.
  guest.send({ type: frameType.close, session: 1000n })
  guest.call(task, 2000n)
  t.match(await guest.killed(2000n), /already/)
  t.match(await refused(1000n), /has ended/)
  guest.call(task, 2001n)
  await run.got(frameType.call, maxCalls + 1)
})

t.test('more than a burst waits and is not lost', async (t) => {
  const done = Promise.withResolvers<void>()
  let taken = 0
  const takeAll = () => {
    while (bucket.take() === 'taken') taken += 1
    if (taken >= 20) done.resolve()
  }
  const bucket = new TokenBucket({ perSecond: 200, burst: 5, refilled: takeAll })
  t.teardown(() => bucket.stop())
  takeAll()
  t.equal(taken, 5)
  await done.promise
  t.ok(taken < 25, `${taken} were let through: never more than a burst at once`)
})

t.test('a caller that breaks the rules loses its call; wrong frames of a task renew the channel', async (t) => {
  const { guest, attached, serving, channel } = await setUp(t)
  const run = await attached()
  const wrong: [string, FrameFields][] = [
    ['EXIT', { type: frameType.exit, session: 900n }],
    ['DATA on stdout', { type: frameType.data, session: 900n, stream: streamNumber.stdout }],
    ['CALL of a call', { type: frameType.call, session: 900n }],
    ['OPENED', { type: frameType.opened, session: 900n }],
  ]
  for (const [at, [what, frame]] of wrong.entries()) {
    const session = 900n + BigInt(at)
    guest.call(task, session)
    await run.got(frameType.call, at + 1)
    const server = await serving(session)
    await server.got(frameType.attached)
    guest.send({ ...frame, session })
    await server.closed
    await guest.killed(session)
    t.pass(what)
  }
  let resets = 0
  channel().on('reset', () => (resets += 1))
  guest.send({ type: frameType.open, session: task })
  await until('the renewal', () => resets > 0 && channel().state === 'ready')
  await run.got(frameType.reset)
})

t.test('a server may send what an agent may and nothing else', async (t) => {
  const { guest, attached, serving } = await setUp(t)
  const run = await attached()
  const wrong: FrameFields[] = [
    { type: frameType.open },
    { type: frameType.call },
    { type: frameType.kill },
    { type: frameType.identity },
    { type: frameType.data, stream: streamNumber.stdin },
    { type: frameType.helloAck },
  ]
  for (const [at, frame] of wrong.entries()) {
    const session = 900n + BigInt(at)
    guest.call(task, session)
    await run.got(frameType.call, at + 1)
    const server = await serving(session)
    await server.got(frameType.attached)
    server.send({ ...frame, session })
    await server.closed
    t.equal(guest.of(session, frame.type).length, frame.type === frameType.kill ? 1 : 0, `type ${frame.type}`)
  }
})

t.test('numbers that are taken, and CALLs that are none, come to nothing', async (t) => {
  const { guest, attached } = await setUp(t)
  const run = await attached()
  await attached(71n)
  guest.call(task, 0n)
  guest.call(task, task)
  guest.call(task, 71n)
  guest.send({ type: frameType.call, session: task, payload: Buffer.from('rubbish') })
  guest.call(task, 900n)
  await run.got(frameType.call)
  t.equal(run.frames.filter((frame) => frame.type === frameType.call).length, 1)
  t.equal(guest.of(71n, frameType.kill).length, 0, 'a task is not killed by a call with its number')
  guest.call(task, 900n)
  guest.call(task, 901n)
  await run.got(frameType.call, 2)
  t.equal(run.frames.filter((frame) => frame.type === frameType.call).length, 2, 'said twice it is asked once')
})

t.test('a command that is asked for just when vmrmd comes back is run', async (t) => {
  const { guest, attached, serving, restart } = await setUp(t, { orphanGraceMs: 5000 })
  await attached()
  guest.sessions = [task]
  // What the agent repeats right behind its answer to a hello.
  guest.repeated = [callFrame(task, 900n)]
  await restart()
  const back = await attached()
  t.equal((await back.got(frameType.call)).session, task)
  t.equal(await (await serving(900n)).attached(4), '/usr/bin/squeue')
  t.equal(guest.of(900n, frameType.kill).length, 0)
})

t.test('a restart of vmrmd ends no call: server and caller find each other again, in any order', async (t) => {
  const { guest, attached, serving, restart } = await setUp(t, { orphanGraceMs: 5000 })
  const run = await attached()
  guest.call(task, 900n)
  await run.got(frameType.call)
  await (await serving(900n)).got(frameType.attached)
  guest.sessions = [task]
  await restart()
  guest.frames.length = 0
  // The caller is first with its RESUME, a new CALL comes meanwhile, then the server, and the task last of all.
  const resume = { type: frameType.resume, session: 900n, payload: encodeFields([[1, Buffer.alloc(16, 1)]]) }
  guest.send(resume)
  guest.call(task, 901n)
  const early = await serving(900n, task, 1000, { resumed: true })
  await early.closed
  t.same(early.frames, [], 'it is told nothing, and comes again')
  const back = await attached()
  await back.got(frameType.call)
  const server = await serving(900n, task, 1000, { resumed: true })
  t.equal((await server.got(frameType.resume)).payload.length, 24)
  server.send({ type: frameType.resume, session: 900n })
  await until('its answer', () => guest.of(900n, frameType.resume).length === 1)
  t.equal(guest.of(900n, frameType.kill).length, 0)
})

t.test('a caller whose server does not come back after a restart is ended', async (t) => {
  const { guest, attached, restart } = await setUp(t, { orphanGraceMs: 200 })
  guest.sessions = [task]
  await restart()
  guest.send({ type: frameType.resume, session: 900n })
  await attached()
  await guest.killed(900n)
  t.pass('killed')
})

t.test('a renewal asks the server too', async (t) => {
  const { guest, attached, serving, channel } = await setUp(t)
  const run = await attached()
  guest.call(task, 900n)
  await run.got(frameType.call)
  const server = await serving(900n)
  await server.got(frameType.attached)
  channel().renew('the test wants it')
  await server.got(frameType.reset)
  await run.got(frameType.reset)
})

t.test('a guest that asks for what is refused and reads nothing makes nothing pile up', async (t) => {
  const { guest, channel } = await setUp(t)
  guest.pause()
  for (let at = 0n; at < 20_000n; at++) guest.call(task, 1000n + at)
  guest.send({ type: frameType.ping, payload: Buffer.from('x') })
  guest.resume()
  await until('an answer', async () => {
    guest.send({ type: frameType.ping, payload: Buffer.from('last') })
    return guest.frames.some((frame) => frame.type === frameType.pong && frame.payload.toString() === 'last')
  })
  t.equal(channel().state, 'ready')
})

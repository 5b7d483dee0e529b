// A guest and clients that lie, flood and stand still: others go on as if nothing were.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { GuestChannel } from '../../lib/guest/channel/channel.ts'
import { encodeFields, u32Field } from '../../lib/guest/frame/fields.ts'
import { decodeFrame, encodeFrame, type Frame, frameType, streamNumber } from '../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../lib/guest/frame/frame-reader.ts'
import { VmSessions } from '../../lib/guest/relay/vm-sessions.ts'
import { silentLog } from '../../lib/log.ts'
import { until } from '../support/until.ts'
import { countFrames } from './count-frames.ts'
import { buildC, Rig } from './rig.ts'

const rig = await Rig.start({ agent: buildC('vmrm-agent', 'plain'), run: buildC('vmrm-run', 'sanitized') })
t.teardown(() => rig.stop())

const attach = (session: bigint): Buffer =>
  encodeFrame({
    type: frameType.attach,
    session,
    payload: encodeFields([
      [1, '7'],
      [2, u32Field(0)],
      [3, u32Field(1)],
    ]),
  })

/** A client that speaks the protocol as it likes. */
async function connectClient(): Promise<{ socket: Socket; frames: Frame[]; closed: Promise<unknown> }> {
  const socket = connect(rig.taskSocket)
  const frames: Frame[] = []
  const reader = new FrameReader({ frame: (f) => frames.push(decodeFrame(Buffer.from(f.raw))), fault: () => {} })
  socket.on('data', (chunk: Buffer) => reader.push(chunk))
  socket.on('error', () => {})
  await once(socket, 'connect')
  return { socket, frames, closed: once(socket, 'close') }
}

/** The sessions that the guest is told to end from now on, in their order. */
function sessionsKilled(channel: GuestChannel): bigint[] {
  const killed: bigint[] = []
  const send = channel.send.bind(channel)
  channel.send = (raw) => {
    const { type, session } = decodeFrame(raw)
    if (type === frameType.kill) killed.push(session)
    return send(raw)
  }
  return killed
}

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** What buffers hold that something still refers to. */
function heldMib(): number {
  collectGarbage()
  return process.memoryUsage().arrayBuffers / (1 << 20)
}

/** A neighbour's task must work all the while. */
async function isFineFor(seconds: number): Promise<boolean> {
  const end = performance.now() + seconds * 1000
  do {
    const r = rig.run({ argv: ['echo', 'fine'] })
    await r.ended
    if (r.stdout !== 'fine\n') return false
  } while (performance.now() < end)
  return true
}

t.test('frames a client may not send end its connection and nothing else', async (t) => {
  const session = 77n
  const cases: [string, Buffer[]][] = [
    ['no ATTACH', [encodeFrame({ type: frameType.open, session })]],
    ['session 0', [attach(0n)]],
    ['a job that is none', [encodeFrame({ type: frameType.attach, session, payload: encodeFields([[1, '../7']]) })]],
    ['garbage', [randomBytes(100)]],
    ['a frame before ATTACHED', [Buffer.concat([attach(session), encodeFrame({ type: frameType.open, session })])]],
    ['another session', [attach(session), encodeFrame({ type: frameType.open, session: 78n })]],
    ['the daemon’s identity', [attach(session), encodeFrame({ type: frameType.identity, session: 0n })]],
    ['KILL', [attach(session), encodeFrame({ type: frameType.kill, session })]],
    ['DATA on stdout', [attach(session), encodeFrame({ type: frameType.data, session, stream: streamNumber.stdout })]],
    ['a long OPEN', [attach(session), encodeFrame({ type: frameType.open, session, payload: randomBytes(9) })]],
  ]
  for (const [what, [first, second]] of cases) {
    const client = await connectClient()
    client.socket.write(first as Buffer)
    if (second !== undefined) {
      await until('ATTACHED', () => client.frames.some((f) => f.type === frameType.attached))
      client.socket.write(second)
    }
    await client.closed
    t.pass(what)
  }
  t.ok(await isFineFor(0))
})

t.test('a guest that breaks the protocol is greeted anew, and its tasks go on', async (t) => {
  const session = 99n
  const cases: [string, Buffer][] = [
    ['garbage', randomBytes(5000)],
    ['a type of ours', encodeFrame({ type: frameType.lost, session })],
    ['a long EXIT', encodeFrame({ type: frameType.exit, session, payload: randomBytes(5000) })],
    ['DATA for no stream', encodeFrame({ type: frameType.data, session, stream: 99 })],
    ['an EXIT for session 0', encodeFrame({ type: frameType.exit })],
  ]
  for (const [what, bytes] of cases) {
    const r = rig.run({ argv: ['sh', '-c', 'echo ready; read line; echo $line'], stdin: 'pipe' })
    await until('ready', () => r.stdout.includes('ready'))
    let resets = 0
    rig.channel.on('reset', () => (resets += 1))
    rig.bridge.writeAsGuest(bytes)
    await until('the renewal', () => resets > 0 && rig.channel.state === 'ready')
    r.child.stdin?.end('still here\n')
    t.match(await r.ended, { code: 0 }, what)
    t.equal(r.stdout, 'ready\nstill here\n')
  }
})

t.test('sessions a guest makes up are dropped', async (t) => {
  const client = await connectClient()
  client.socket.write(attach(55n))
  await until('ATTACHED', () => client.frames.some((f) => f.type === frameType.attached))
  const before = client.frames.length
  const killed = sessionsKilled(rig.channel)
  const read = countFrames(rig.channel)
  for (let i = 0; i < 1000; i++) {
    const session = 1000n + BigInt(i % 3)
    rig.bridge.writeAsGuest(encodeFrame({ type: frameType.data, session, stream: 1, payload: randomBytes(10) }))
  }
  await until('all of it to be read', () => read() >= 1000)
  await until('the last KILL', () => killed.length >= 3)
  t.same(killed.sort(), [1000n, 1001n, 1002n], 'the guest is told once of each number to end it')
  t.ok(await isFineFor(0))
  client.socket.end()
  await client.closed
  t.same(client.frames.slice(before), [], 'no client gets a frame of them')
})

t.test('a flood of tiny frames is slowed and holds up nobody else', async (t) => {
  const tiny = encodeFrame({ type: frameType.ack, session: 4242n, stream: streamNumber.stdin })
  const flood = Buffer.concat(Array.from({ length: 10_000 }, () => tiny))
  const read = countFrames(rig.channel)
  const started = performance.now()
  for (let i = 0; i < 60; i++) rig.bridge.writeAsGuest(flood)
  let worstMs = 0
  let last = performance.now()
  const timer = setInterval(() => {
    worstMs = Math.max(worstMs, performance.now() - last)
    last = performance.now()
  }, 5)
  await until('all of it', () => read() >= 600_000, 20_000)
  clearInterval(timer)
  t.ok(performance.now() - started > 2000, '600,000 frames took more than two seconds')
  t.ok(worstMs < 500, `nothing else waited longer than ${worstMs.toFixed(0)} ms`)
})

t.test('a client that reads nothing is cut off from what it does not read, and then asked to resume', async (t) => {
  const session = 31_337n
  const client = await connectClient()
  client.socket.write(attach(session))
  await until('ATTACHED', () => client.frames.some((f) => f.type === frameType.attached))
  client.socket.pause()
  // A hostile guest ignores the window: only the relay's own bound holds.
  const raw = encodeFrame({ type: frameType.data, session, stream: 1, payload: randomBytes(65_536) })
  const before = heldMib()
  for (let i = 0; i < 2000; i++) {
    rig.bridge.writeAsGuest(raw)
    if (i % 50 === 49) await new Promise((resolve) => setImmediate(resolve))
  }
  t.ok(await isFineFor(0), 'a neighbour is served behind the flood')
  // The client still reads nothing: what is kept for it cannot go away, only what is garbage can.
  await until('little of the 125 MiB to be in memory', () => heldMib() - before < 16)
  client.socket.resume()
  await until('RESET', () => client.frames.some((f) => f.type === frameType.reset))
  const reset = client.frames.findIndex((f) => f.type === frameType.reset)
  const kept = client.frames.slice(0, reset).filter((f) => f.type === frameType.data).length
  t.ok(kept > 0 && kept < 128, `${kept} of 2000 frames of 64 KiB were kept for it`)
  client.socket.destroy()
})

t.test('a guest that asks for answers and reads none of them makes nothing pile up', async (t) => {
  const path = join(rig.agent.folder, 'flood')
  let received = 0
  let pongs = 0
  const guest = Promise.withResolvers<Socket>()
  const server = createServer((socket) => {
    const reader = new FrameReader({
      frame: ({ type, payload }) => {
        if (type === frameType.pong && payload.toString() === 'last') pongs += 1
        if (type !== frameType.hello) return
        socket.write(encodeFrame({ type: frameType.helloAck, payload: Buffer.concat([payload, session]) }))
        socket.pause()
        guest.resolve(socket)
      },
      fault: () => {},
    })
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
      reader.push(chunk)
    })
  })
  const session = encodeFields([[4, 'identified']])
  server.listen(path)
  await once(server, 'listening')
  const channel = new GuestChannel({ path, vm: 'j8r0v0', log: silentLog })
  const sessions = new VmSessions({ channel, log: silentLog, orphanGraceMs: 60_000, isClaimed: () => false })
  t.teardown(() => {
    sessions.detach()
    channel.close()
    server.close()
  })
  const read = countFrames(channel)
  await channel.open(AbortSignal.timeout(10_000))
  const socket = await guest.promise
  const ping = encodeFrame({ type: frameType.ping, payload: randomBytes(256) })
  socket.write(Buffer.concat(Array.from({ length: 20_000 }, () => ping)))
  const strangers = 50_000
  const frames = Array.from({ length: strangers }, (_, at) =>
    encodeFrame({ type: frameType.ack, session: BigInt(at + 1), stream: streamNumber.stdin }),
  )
  socket.write(Buffer.concat(frames))
  await until('the end of the flood', () => read() === strangers, 20_000)
  socket.resume()
  const asking = setInterval(
    () => socket.write(encodeFrame({ type: frameType.ping, payload: Buffer.from('last') })),
    50,
  )
  await until('an answer to what is asked now', () => pongs > 0).finally(() => clearInterval(asking))
  t.ok(received < 2 << 20, `${received} bytes of at least 7,000,000 were queued`)
  socket.destroy()
})

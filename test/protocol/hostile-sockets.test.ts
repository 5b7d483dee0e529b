// Callers that do not behave: slow, silent, deaf or random ones. The server stays up, bounded, and answers the others.
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { writeMessage } from '../../lib/protocol/envelope.ts'
import { frameLimitBytes } from '../../lib/protocol/limits.ts'
import { FrameReader, toFrame } from '../../lib/protocol/transport/framing.ts'
import { serve } from '../support/protocol/fixtures.ts'
import { createRandom } from '../support/random.ts'

const handlers = { 'list-images': () => ({ images: [] }), 'show-image': () => ({ xml: 'x'.repeat(300_000) }) }
const ask = (id: number) => toFrame(Buffer.from(writeMessage({ id, kind: 'request', type: 'list-images' }, {})))

function open(t: Test, path: string): Socket {
  const socket = connect(path)
  socket.on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}

/** What came back, as text, once the server has closed. */
function readToEnd(socket: Socket): Promise<string[]> {
  const reader = new FrameReader()
  const frames: string[] = []
  socket.on('data', (chunk: Buffer) => frames.push(...reader.push(chunk).map(String)))
  return new Promise((resolve) => socket.once('close', () => resolve(frames)))
}

t.test('a frame that trickles in byte by byte is cut off at the read timeout', async (t) => {
  const { path, client } = await serve(t, { handlers, limits: { readTimeoutMs: 150 } })
  const socket = open(t, path)
  const began = Date.now()
  const frame = ask(1)
  let sent = 0
  const trickle = setInterval(() => socket.write(frame.subarray(sent, ++sent)), 20)
  t.teardown(() => clearInterval(trickle))
  const ended = await readToEnd(socket)
  clearInterval(trickle)
  t.ok(Date.now() - began < 2_000)
  t.ok(sent < frame.length, 'long before the frame was complete')
  for (const answer of ended) t.match(answer, /protocol-error/)
  t.same(await client('local').call('list-images', {}), { images: [] })
})

t.test('a connection that is idle is closed, one that waits for its answer is not', async (t) => {
  let answer: () => void = () => {}
  const { path } = await serve(t, {
    limits: { idleTimeoutMs: 60 },
    handlers: {
      'list-images': () =>
        new Promise((resolve) => {
          answer = () => resolve({ images: [] })
        }),
    },
  })
  const idle = open(t, path)
  const waiting = open(t, path)
  waiting.write(ask(1))
  const answered = readToEnd(waiting)
  await readToEnd(idle)
  t.notOk(waiting.destroyed)
  answer()
  t.match(await answered, [/kind="reply"/])
})

t.test('a caller that does not take its replies is read no further, and is closed in the end', async (t) => {
  let served = 0
  let closed: (reason?: unknown) => void = () => {}
  const isClosed = new Promise((resolve) => {
    closed = resolve
  })
  const { path, client } = await serve(t, {
    // Long enough for the other caller to say what it wants, on a busy machine too.
    limits: { idleTimeoutMs: 3000, pendingReplyBytes: 1_000_000, requestsPerConnection: 4 },
    handlers: {
      ...handlers,
      'show-image': (_request, _caller, { signal }) => {
        served += 1
        signal.addEventListener('abort', closed, { once: true })
        return { xml: 'x'.repeat(300_000) }
      },
    },
  })
  const deaf = open(t, path)
  deaf.pause()
  const request = toFrame(Buffer.from(writeMessage({ id: 1, kind: 'request', type: 'show-image' }, { name: 'a' })))
  for (let count = 0; count < 500; count += 1) deaf.write(request)
  t.same(await client('local').call('list-images', {}), { images: [] }, 'others are served')
  await isClosed
  t.ok(served < 20, `${served} of 500 were served`)
})

t.test('a local caller is told what is wrong with its message before the connection ends', async (t) => {
  const { path } = await serve(t, { handlers })
  const cases: [string, string, RegExp][] = [
    ['no XML', 'hello', /protocol-error.*message-invalid/],
    ['another version', '<vmrm version="9" id="1" kind="request" type="list-images"/>', /protocol-error.*version/],
    ['a reply', '<vmrm version="1" id="1" kind="reply" type="list-images"/>', /protocol-error.*sent a reply/],
    ['an entity bomb', '<!DOCTYPE v [<!ENTITY a "b">]><v>&a;</v>', /protocol-error.*DTDs/],
  ]
  for (const [name, xml, expected] of cases) {
    const socket = open(t, path)
    socket.write(toFrame(Buffer.from(xml)))
    const [answer] = await readToEnd(socket)
    t.match(answer, expected, name)
  }
})

t.test('what is wrong with one request is answered to that request, and the connection goes on', async (t) => {
  const { path } = await serve(t, { handlers })
  const socket = open(t, path)
  const requests = [
    '<vmrm version="1" id="1" kind="request" type="list-imges"/>',
    '<vmrm version="1" id="2" kind="request" type="show-image" name="NO"/>',
    '<vmrm version="1" id="3" kind="request" type="greeting"/>',
    '<vmrm version="1" id="4" kind="request" type="run-state" job="1" restart="0" state="ended"/>',
    '<vmrm version="1" id="5" kind="request" type="list-images"/>',
  ]
  for (const xml of requests) socket.write(toFrame(Buffer.from(xml)))
  const reader = new FrameReader()
  const answers: string[] = []
  await new Promise<void>((resolve) => {
    socket.on('data', (chunk: Buffer) => {
      answers.push(...reader.push(chunk).map(String))
      if (answers.length === requests.length) resolve()
    })
  })
  answers.sort()
  t.match(answers[0], /id="1".*did you mean list-images/)
  for (const answer of answers.slice(1, 4)) t.match(answer, /<error code="message-invalid"/)
  t.equal(answers[4], '<vmrm version="1" id="5" kind="reply" type="list-images"/>')
})

t.test('random bytes and broken frames never stop the server', async (t) => {
  const { seed, int } = createRandom()
  t.comment(`seed ${seed}`)
  const { path, client } = await serve(t, {
    handlers,
    limits: { readTimeoutMs: 100, connections: 5_000, connectionsPerUser: 5_000 },
  })
  const noise = (length: number) => Buffer.from(Array.from({ length }, () => int(256)))
  const length = (value: number) => {
    const prefix = Buffer.alloc(4)
    prefix.writeUInt32BE(value >>> 0)
    return prefix
  }
  const make = [
    () => noise(int(200)),
    () => Buffer.concat([length(int(300)), noise(int(200))]),
    () => Buffer.concat([length(frameLimitBytes + int(3) - 1), noise(int(200))]),
    () => Buffer.concat([ask(1), length(0)]),
    () => Buffer.concat([ask(1), ask(2).subarray(0, int(20))]),
    () =>
      toFrame(
        Buffer.concat([noise(int(9)), Buffer.from(writeMessage({ id: 1, kind: 'request', type: 'list-images' }, {}))]),
      ),
  ]
  const ends = Array.from({ length: 300 }, async () => {
    const socket = open(t, path)
    const bytes = make[int(make.length)]?.() ?? Buffer.alloc(0)
    const cut = int(bytes.length)
    socket.write(bytes.subarray(0, cut))
    socket.write(bytes.subarray(cut))
    if (int(2) === 0) socket.end()
    else setTimeout(() => socket.end(), 150).unref()
    await readToEnd(socket)
  })
  await Promise.all(ends)
  t.same(await client('local').call('list-images', {}), { images: [] })
})

t.test('frames come out whole, however the stream is cut', async (t) => {
  const { seed, int } = createRandom()
  t.comment(`seed ${seed}`)
  const payloads = Array.from({ length: 200 }, (_, index) => Buffer.alloc(1 + int(5_000), index))
  const stream = Buffer.concat(payloads.map(toFrame))
  const reader = new FrameReader()
  const found: Buffer[] = []
  for (let at = 0; at < stream.length; ) {
    const end = at + 1 + int(3_000)
    found.push(...reader.push(stream.subarray(at, end)))
    at = end
  }
  t.ok(found.length === payloads.length && found.every((frame, index) => frame.equals(payloads[index] as Buffer)))
  t.equal(reader.isPartial, false)
  t.throws(() => toFrame(Buffer.alloc(frameLimitBytes + 1)), { code: 'message-invalid' })
})

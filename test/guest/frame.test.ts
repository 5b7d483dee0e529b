// The TypeScript codec against the C codec, and the reader against bytes as they come: cut anywhere, broken anywhere.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { decodeFields, encodeFields } from '../../lib/guest/frame/fields.ts'
import { decodeFrame, encodeFrame, type Frame, frameType, isCheckGood } from '../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../lib/guest/frame/frame-reader.ts'
import { compile, makeScratch, sanitizers } from '../support/c-parts.ts'
import { root } from './rig.ts'
import { limitOf, offsetOf } from './stream-fields.ts'

const scratch = await makeScratch('frame')
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))

const lengths = [0, 1, 2, 3, 4, 5, 7, 8, 39, 40, 41, 1000, 65_535, 65_536]
const frames = lengths.map((length, i) =>
  encodeFrame({
    type: frameType.data,
    stream: i % 4,
    flags: i % 2,
    session: 0xfedcba9876543210n + BigInt(i),
    offset: 0xffff_ffff_ffffn * BigInt(i),
    limit: (1n << 64n) - 1n - BigInt(i),
    payload: randomBytes(length),
  }),
)

t.test('C reads what TypeScript writes, and writes the same bytes', async (t) => {
  const program = join(scratch, 'reencode')
  const frame = join(root, 'lib/guest/frame')
  const sources = [join(root, 'test/guest/reencode.c'), join(frame, 'frame.c')]
  await compile(sources, program, ['-D_GNU_SOURCE', `-I${frame}`, ...sanitizers.split(' ')])
  const input = Buffer.concat(frames)
  t.ok(execFileSync(program, { input, maxBuffer: 1 << 24 }).equals(input))
  const broken = Buffer.from(input)
  broken[60] = (broken[60] ?? 0) ^ 1
  t.throws(() => execFileSync(program, { input: broken, stdio: 'pipe' }))
})

interface Seen {
  readonly frames: Frame[]
  readonly faults: string[]
  readonly reader: FrameReader
}

function watch(): Seen {
  const seen: Frame[] = []
  const faults: string[] = []
  const reader = new FrameReader({ frame: (f) => seen.push(f), fault: (f) => faults.push(f) })
  return { frames: seen, faults, reader }
}

t.test('frames come out whole however the bytes are cut', async (t) => {
  const all = Buffer.concat(frames)
  for (const size of [1, 7, 39, 40, 41, 4096, 65_536, 65_577, all.length]) {
    const seen = watch()
    for (let at = 0; at < all.length; at += size) seen.reader.push(all.subarray(at, at + size))
    t.equal(seen.frames.length, frames.length, `chunks of ${size}`)
    t.ok(seen.frames.every((f, i) => f.raw.equals(frames[i] as Buffer) && isCheckGood(f.raw)))
  }
})

t.test('a frame within one chunk shares its memory', async (t) => {
  const seen = watch()
  const chunk = Buffer.concat(frames)
  seen.reader.push(chunk)
  t.ok(seen.frames.every((f) => f.raw.buffer === chunk.buffer))
})

t.test('bytes that are no frame end the reading, with a reason', async (t) => {
  const good = encodeFrame({ type: frameType.exit, session: 5n, payload: Buffer.from('abc') })
  const change = (at: number, value: number) => {
    const bytes = Buffer.from(good)
    bytes[at] = value
    return bytes
  }
  for (const [bytes, fault] of [
    [change(0, 0), 'magic'],
    [change(14, 2), 'length'],
    [change(41, 0), 'check'],
    [change(20, 9), 'check'],
  ] as const) {
    const seen = watch()
    seen.reader.push(Buffer.concat([good, bytes, good]))
    t.strictSame([seen.frames.length, seen.faults], [1, [fault]])
    seen.reader.reset()
    seen.reader.push(good)
    t.equal(seen.frames.length, 2, 'until it is reset')
  }
})

t.test('a hunt finds the one answer with our nonce behind any garbage', async (t) => {
  const nonce = randomBytes(16)
  const answer = encodeFrame({ type: frameType.helloAck, payload: encodeFields([[1, nonce]]) })
  const stale = encodeFrame({ type: frameType.helloAck, payload: encodeFields([[1, randomBytes(16)]]) })
  const half = (frames[12] as Buffer).subarray(0, 3000)
  const lying = Buffer.from(answer.subarray(0, 40))
  for (const size of [1, 13, 100_000]) {
    const seen = watch()
    seen.reader.hunt(nonce)
    const bytes = Buffer.concat([half, stale, Buffer.from('VMRMVMRM'), lying, answer, frames[5] as Buffer])
    for (let at = 0; at < bytes.length; at += size) seen.reader.push(bytes.subarray(at, at + size))
    t.equal(seen.frames.length, 2, `chunks of ${size}`)
    t.ok(seen.frames[0]?.raw.equals(answer))
  }
})

t.test('fields: what is written is read; a length that lies is nothing at all', async (t) => {
  const payload = encodeFields([
    [1, 'text'],
    [70, Buffer.alloc(0)],
    [1, randomBytes(300)],
  ])
  t.equal(decodeFields(payload)?.length, 3)
  for (let cut = 1; cut < 8; cut++) t.equal(decodeFields(payload.subarray(0, payload.length - cut)), undefined)
  payload.writeUInt32LE(0xffffffff, 4)
  t.equal(decodeFields(payload), undefined)
})

t.test('numbers above 2^53 survive', async (t) => {
  const frame = decodeFrame(frames[1] as Buffer)
  t.equal(offsetOf(frame), 0xffff_ffff_ffffn)
  t.equal(limitOf(frame), (1n << 64n) - 2n)
  t.equal(frame.session, 0xfedcba9876543211n)
})

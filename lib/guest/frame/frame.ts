// The frames of guest protocol 1: encoding, the check, field lists. Pure; the incremental reader is frame-reader.ts.

/** Bytes of a header; a frame is a header and at most `maxPayloadBytes`. */
export const headerBytes = 40
export const maxPayloadBytes = 65_536
export const frameMagic = 0x4d524d56
export const protocolVersion = 1

export const frameType = {
  hello: 1,
  helloAck: 2,
  ping: 3,
  pong: 4,
  identity: 5,
  identityDone: 6,
  clock: 7,
  template: 8,
  templateReady: 9,
  open: 16,
  opened: 17,
  data: 18,
  ack: 19,
  signal: 20,
  exit: 21,
  close: 22,
  resume: 23,
  error: 24,
  resize: 25,
  kill: 26,
  call: 27,
  held: 28,
  release: 29,
  attach: 64,
  attached: 65,
  refused: 66,
  lost: 67,
  reset: 68,
  serve: 69,
} as const

export const streamNumber = { stdin: 0, stdout: 1, stderr: 2, spec: 3, wireIn: 4, wireOut: 5 } as const

/** One whole frame; `raw` is header and payload in one piece, and may share memory with what was read. */
export interface Frame {
  readonly type: number
  readonly stream: number
  readonly flags: number
  readonly session: bigint
  readonly payload: Buffer
  readonly raw: Buffer
}

export interface FrameFields {
  readonly type: number
  readonly stream?: number
  readonly flags?: number
  readonly session?: bigint
  readonly offset?: bigint
  readonly limit?: bigint
  readonly payload?: Uint8Array
}

/** The check of a whole frame (header at 0): two running sums over bytes 8 and up, zero-padded to whole words. */
function checkOf(raw: Buffer): number {
  let a = 1
  let b = 0
  const whole = raw.length & ~3
  const view = new DataView(raw.buffer, raw.byteOffset, raw.length)
  for (let at = 8; at < whole; at += 4) {
    a = (a + view.getInt32(at, true)) | 0
    b = (b + a) | 0
  }
  if (whole !== raw.length) {
    let last = 0
    for (let at = whole; at < raw.length; at++) last |= view.getUint8(at) << (8 * (at - whole))
    a = (a + last) | 0
    b = (b + a) | 0
  }
  return (b ^ ((a << 16) | (a >>> 16))) >>> 0
}

export function isCheckGood(raw: Buffer): boolean {
  return raw.readUInt32LE(4) === checkOf(raw)
}

/** Header and payload in one new buffer. Throws RangeError for a payload over `maxPayloadBytes`: our own mistake. */
export function encodeFrame(fields: FrameFields): Buffer {
  const payload = fields.payload ?? new Uint8Array(0)
  if (payload.length > maxPayloadBytes) throw new RangeError(`a payload of ${payload.length} bytes is over the limit`)
  const raw = Buffer.allocUnsafe(headerBytes + payload.length)
  raw.writeUInt32LE(frameMagic, 0)
  raw.writeUInt8(fields.type, 8)
  raw.writeUInt8(fields.stream ?? 0, 9)
  raw.writeUInt16LE(fields.flags ?? 0, 10)
  raw.writeUInt32LE(payload.length, 12)
  raw.writeBigUInt64LE(fields.session ?? 0n, 16)
  raw.writeBigUInt64LE(fields.offset ?? 0n, 24)
  raw.writeBigUInt64LE(fields.limit ?? 0n, 32)
  raw.set(payload, headerBytes)
  raw.writeUInt32LE(checkOf(raw), 4)
  return raw
}

/** The fields of a whole frame in `raw`, which must be exactly its header and payload. */
export function decodeFrame(raw: Buffer): Frame {
  return {
    type: raw.readUInt8(8),
    stream: raw.readUInt8(9),
    flags: raw.readUInt16LE(10),
    session: raw.readBigUInt64LE(16),
    payload: raw.subarray(headerBytes),
    raw,
  }
}

// A client of one session, as vmrm-run is one: spec, streams with acknowledgement and renewal, result. It keeps what is not acknowledged.
import { createHash, randomBytes } from 'node:crypto'
import { decodeFields, encodeFields, type FieldValue, u32Field } from '../../../lib/guest/frame/fields.ts'
import { type Frame, frameType, streamNumber } from '../../../lib/guest/frame/frame.ts'
import { flagEnd, limitOf, offsetOf } from '../stream-fields.ts'
import { type Host, type SessionEnd, valueWith } from './host.ts'

export interface TaskOptions {
  readonly argv: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** A Buffer (default: empty): these bytes and the end; 'open': until `endStdin`; 'null': the spec says that there is none. */
  readonly stdin?: Buffer | 'open' | 'null'
  readonly fields?: readonly (readonly [number, FieldValue])[]
  /** Bytes of stdout that are kept; the rest only counts into the digest. Default 1 MiB. */
  readonly keepBytes?: number
}

export type Result =
  | { readonly kind: 'exited'; readonly value: number }
  | { readonly kind: 'signaled'; readonly signal: string }
  | { readonly kind: 'error'; readonly code: string; readonly text: string; readonly number: number | undefined }

const windowBytes = 262_144
const pieceBytes = 32_768

/** The sending half: the whole stream is at hand, so "keeping" is remembering offsets. */
class Outgoing {
  readonly stream: number
  bytes: Buffer
  ended = false
  sent = 0
  endSent = false
  limit = windowBytes

  constructor(stream: number, bytes: Buffer) {
    this.stream = stream
    this.bytes = bytes
  }
}

class Incoming {
  received = 0
  acked = 0
  ended = false
  kept: Buffer[] = []
  keptBytes = 0
  readonly digest = createHash('sha256')
}

export class Task implements SessionEnd {
  readonly id: bigint = randomBytes(8).readBigUInt64LE() | 1n
  readonly host: Host
  readonly stdout = new Incoming()
  readonly stderr = new Incoming()
  result: Result | undefined
  results = 0
  isOpened = false
  resumesHeard = 0
  /** 'slow': ACKs are held back, so that the agent's window fills. */
  reading: 'normal' | 'slow' = 'normal'
  readonly #outgoing: readonly [Outgoing, Outgoing]
  readonly #keepBytes: number
  #awaitsResume = false
  #isClosed = false

  constructor(host: Host, options: TaskOptions) {
    this.host = host
    this.#keepBytes = options.keepBytes ?? 1 << 20
    const env = { PATH: '/usr/bin:/bin', ...options.env }
    const spec = encodeFields([
      ...options.argv.map((arg) => [1, arg] as const),
      ...Object.entries(env).map(([name, value]) => [2, `${name}=${value}`] as const),
      ...(options.stdin === 'null' ? [[10, 'null'] as const] : []),
      ...(options.fields ?? []),
    ])
    const stdin = new Outgoing(streamNumber.stdin, Buffer.isBuffer(options.stdin) ? options.stdin : Buffer.alloc(0))
    stdin.ended = Buffer.isBuffer(options.stdin) || options.stdin === undefined
    const specOut = new Outgoing(streamNumber.spec, spec)
    specOut.ended = true
    this.#outgoing = [specOut, stdin]
    host.sessions.set(this.id, this)
    this.#open()
  }

  #open(): void {
    this.send(frameType.open)
    for (const out of this.#outgoing) Object.assign(out, { sent: 0, endSent: false, limit: windowBytes })
    this.#awaitsResume = false
    this.#pump()
  }

  send(type: number, payload?: Buffer): void {
    this.host.send({ type, session: this.id, ...(payload && { payload }) })
  }

  #pump(): void {
    if (this.#awaitsResume) return
    for (const out of this.#outgoing) {
      for (;;) {
        const end = Math.min(out.bytes.length, out.sent + pieceBytes, out.limit)
        const isLast = out.ended && end === out.bytes.length
        if (end <= out.sent && !(isLast && !out.endSent)) break
        const payload = out.bytes.subarray(out.sent, Math.max(end, out.sent))
        const flags = isLast ? flagEnd : 0
        this.host.send({
          type: frameType.data,
          session: this.id,
          stream: out.stream,
          flags,
          offset: BigInt(out.sent),
          payload,
        })
        out.sent = Math.max(end, out.sent)
        out.endSent = isLast
        if (isLast) break
      }
    }
  }

  writeStdin(bytes: Buffer | string): void {
    const out = this.#outgoing[1]
    out.bytes = Buffer.concat([out.bytes, Buffer.from(bytes)])
    this.#pump()
  }

  endStdin(): void {
    this.#outgoing[1].ended = true
    this.#pump()
  }

  /** Forgets to send `count` bytes of stdin, as if they had been lost on the way. */
  loseStdin(bytes: string): void {
    const out = this.#outgoing[1]
    out.bytes = Buffer.concat([out.bytes, Buffer.from(bytes)])
    out.sent = out.bytes.length
  }

  onRenewed(): void {
    this.#awaitsResume = true
    const shape = (stream: number, offset: number): Buffer => {
      const bytes = Buffer.alloc(16)
      bytes.writeUInt8(stream)
      bytes.writeBigUInt64LE(BigInt(offset), 8)
      return bytes
    }
    const streams = [
      [streamNumber.stdout, this.stdout],
      [streamNumber.stderr, this.stderr],
    ] as const
    this.send(
      frameType.resume,
      encodeFields([
        ...streams.map(([n, s]) => [1, shape(n, s.received)] as const),
        ...streams.map(([n, s]) => [2, shape(n, s.received + windowBytes)] as const),
      ]),
    )
  }

  onFrame(frame: Frame): void {
    switch (frame.type) {
      case frameType.opened:
        this.isOpened = true
        break
      case frameType.data:
        this.#onData(frame)
        break
      case frameType.ack:
        this.#onLimit(frame.stream, Number(limitOf(frame)))
        break
      case frameType.resume:
        this.#onResume(frame)
        break
      case frameType.exit:
      case frameType.error:
        this.#onResult(frame)
        break
    }
  }

  #onLimit(stream: number, limit: number): void {
    for (const out of this.#outgoing) if (out.stream === stream) out.limit = Math.max(out.limit, limit)
    this.#pump()
  }

  #onResume(frame: Frame): void {
    this.resumesHeard++
    for (const field of decodeFields(frame.payload) ?? []) {
      for (const out of this.#outgoing) {
        if (field.value[0] !== out.stream) continue
        const offset = Number(field.value.readBigUInt64LE(8))
        if (field.tag === 1) {
          out.sent = offset
          out.endSent = false
        } else out.limit = Math.max(out.limit, offset)
      }
    }
    this.#awaitsResume = false
    this.#pump()
  }

  #onData(frame: Frame): void {
    const stream = frame.stream === streamNumber.stdout ? this.stdout : this.stderr
    const offset = Number(offsetOf(frame))
    if (offset > stream.received) throw new Error(`bytes ${stream.received} to ${offset} are missing`)
    const fresh = frame.payload.subarray(Math.min(stream.received - offset, frame.payload.length))
    stream.digest.update(fresh)
    stream.received += fresh.length
    if (stream.keptBytes < this.#keepBytes) stream.kept.push(Buffer.from(fresh))
    stream.keptBytes += fresh.length
    if ((frame.flags & flagEnd) !== 0) stream.ended = true
    if (this.reading === 'normal') this.#ack(frame.stream, stream)
  }

  #ack(number: number, stream: Incoming): void {
    stream.acked = stream.received
    const offset = BigInt(stream.received)
    this.host.send({
      type: frameType.ack,
      session: this.id,
      stream: number,
      offset,
      limit: offset + BigInt(windowBytes),
    })
  }

  /** Reads on after 'slow'. */
  readOn(): void {
    this.reading = 'normal'
    this.#ack(streamNumber.stdout, this.stdout)
    this.#ack(streamNumber.stderr, this.stderr)
  }

  #onResult(frame: Frame): void {
    const fields = decodeFields(frame.payload) ?? []
    const text = (tag: number): string => valueWith(fields, tag)?.toString() ?? ''
    // The first OPEN was lost on its way.
    const isLost = text(2) === 'no-such-session' && !this.isOpened && !this.#isClosed
    if (frame.type === frameType.error && isLost) {
      this.#open()
      return
    }
    if (frame.type === frameType.error)
      this.result = { kind: 'error', text: text(1), code: text(2), number: valueWith(fields, 3)?.readUInt32LE() }
    else if (text(1) === 'exited') this.result = { kind: 'exited', value: valueWith(fields, 2)?.readUInt32LE() ?? -1 }
    else this.result = { kind: 'signaled', signal: text(3) }
    this.results++
  }

  signal(name: string, scope: 'all' | 'leader'): void {
    this.send(
      frameType.signal,
      encodeFields([
        [1, name],
        [2, scope],
      ]),
    )
  }

  resize(rows: number, columns: number): void {
    this.send(
      frameType.resize,
      encodeFields([
        [1, u32Field(rows)],
        [2, u32Field(columns)],
      ]),
    )
  }

  /** Waits for the result; stays open (CLOSE is the caller's). */
  async ended(): Promise<Result> {
    return this.host.until(`the end of a task (${this.stdout.received} bytes came)`, () => this.result)
  }

  async printed(text: string): Promise<void> {
    await this.host.until(`${JSON.stringify(text)} on stdout`, () => this.outText.includes(text))
  }

  get outText(): string {
    return Buffer.concat(this.stdout.kept).toString('latin1')
  }

  get errText(): string {
    return Buffer.concat(this.stderr.kept).toString('latin1')
  }

  close(): void {
    this.#isClosed = true
    this.send(frameType.close)
    this.host.sessions.delete(this.id)
  }

  kill(): void {
    this.send(frameType.kill)
    this.host.sessions.delete(this.id)
  }
}

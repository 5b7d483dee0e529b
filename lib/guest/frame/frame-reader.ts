// Reads frames from chunks of bytes as they arrive. It owns their boundaries; it never decides what a frame may contain.
import { decodeFrame, type Frame, frameMagic, frameType, headerBytes, isCheckGood, maxPayloadBytes } from './frame.ts'

/** Why bytes are no frame. */
export type FrameFault = 'magic' | 'length' | 'check'

export interface FrameSink {
  /** Called for each whole frame, in order. */
  frame(frame: Frame): void
  /** The bytes are no frames any more: everything up to the next `reset` or `hunt` is dropped. */
  fault(fault: FrameFault): void
}

// DATA goes on to an end point that checks it; a second check here would halve the relay's throughput.
const isCheckedHere = (raw: Buffer): boolean => raw[8] !== frameType.data

// What a hello's answer may need: room for 1,000 sessions.
const maxHuntedBytes = headerBytes + 16_384
// A hostile guest could make us sum the same bytes again and again with headers inside headers.
const maxFailedCandidates = 16
const magicBytes = Buffer.alloc(4)
magicBytes.writeUInt32LE(frameMagic)

type ReaderMode = 'frames' | 'hunting' | 'dropping'

/**
 * Frames that lie within one chunk share its memory; only a frame that spans chunks is copied, once.
 * What is kept between chunks is less than one frame.
 */
export class FrameReader {
  #mode: ReaderMode = 'frames'
  #nonce: Buffer = Buffer.alloc(0)
  #parts: Buffer[] = []
  #partBytes = 0
  readonly #sink: FrameSink

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** Forget what was read; the next byte starts a frame. */
  reset(): void {
    this.#mode = 'frames'
    this.#keep(undefined)
  }

  /** Drop everything until a HELLO_ACK whose payload contains `nonce`; frames are read again from there on. */
  hunt(nonce: Buffer): void {
    this.#mode = 'hunting'
    this.#nonce = nonce
    this.#keep(undefined)
  }

  push(chunk: Buffer): void {
    let rest: Buffer | undefined = chunk
    while (rest !== undefined && rest.length > 0) {
      if (this.#mode === 'dropping') return
      rest = this.#mode === 'hunting' ? this.#huntIn(rest) : this.#readOne(rest)
    }
  }

  #keep(bytes: Buffer | undefined): void {
    this.#parts = bytes === undefined ? [] : [bytes]
    this.#partBytes = bytes?.length ?? 0
  }

  #fail(fault: FrameFault): undefined {
    this.#mode = 'dropping'
    this.#keep(undefined)
    this.#sink.fault(fault)
  }

  /** Reads one frame; the answer is what is left of the chunk, undefined when all of it was used. */
  #readOne(chunk: Buffer): Buffer | undefined {
    if (this.#partBytes > 0 && this.#partBytes < headerBytes) {
      const joined = Buffer.concat([...this.#parts, chunk.subarray(0, headerBytes - this.#partBytes)])
      const rest = chunk.subarray(joined.length - this.#partBytes)
      this.#keep(joined)
      if (joined.length < headerBytes) return undefined
      return this.#readBody(joined, rest)
    }
    if (this.#partBytes > 0) return this.#readBody(this.#parts[0] as Buffer, chunk)
    if (chunk.length < headerBytes) {
      // A copy: a few bytes must not keep a whole chunk alive while the peer is silent.
      this.#keep(Buffer.from(chunk))
      return undefined
    }
    return this.#readBody(chunk, chunk)
  }

  /** `head` starts with the header; `chunk` is what follows the parts kept so far, or `head` itself when none are. */
  #readBody(head: Buffer, chunk: Buffer): Buffer | undefined {
    if (head.readUInt32LE(0) !== frameMagic) return this.#fail('magic')
    const length = head.readUInt32LE(12)
    if (length > maxPayloadBytes) return this.#fail('length')
    const missing = headerBytes + length - this.#partBytes
    if (chunk.length < missing) {
      this.#parts.push(chunk)
      this.#partBytes += chunk.length
      return undefined
    }
    const last = chunk.subarray(0, missing)
    const raw = this.#partBytes === 0 ? last : Buffer.concat([...this.#parts, last])
    this.#keep(undefined)
    if (isCheckedHere(raw) && !isCheckGood(raw)) return this.#fail('check')
    this.#sink.frame(decodeFrame(raw))
    return chunk.subarray(missing)
  }

  #huntIn(chunk: Buffer): Buffer | undefined {
    const bytes = this.#partBytes === 0 ? chunk : Buffer.concat([...this.#parts, chunk])
    this.#keep(undefined)
    let failed = 0
    for (let at = bytes.indexOf(magicBytes); at >= 0; at = bytes.indexOf(magicBytes, at + 1)) {
      const verdict = this.#candidateAt(bytes, at)
      if (verdict === 'incomplete') {
        this.#keep(Buffer.from(bytes.subarray(at)))
        return undefined
      }
      if (verdict === 'other') continue
      if (verdict === 'bad' && ++failed >= maxFailedCandidates) return undefined
      if (verdict === 'bad') continue
      this.#mode = 'frames'
      this.#sink.frame(decodeFrame(verdict))
      return bytes.subarray(at + verdict.length)
    }
    this.#keep(Buffer.from(bytes.subarray(Math.max(0, bytes.length - magicBytes.length + 1))))
    return undefined
  }

  #candidateAt(bytes: Buffer, at: number): Buffer | 'incomplete' | 'other' | 'bad' {
    if (bytes.length - at < headerBytes) return 'incomplete'
    const total = headerBytes + bytes.readUInt32LE(at + 12)
    if (bytes[at + 8] !== frameType.helloAck || bytes.readBigUInt64LE(at + 16) !== 0n) return 'other'
    if (total > maxHuntedBytes) return 'other'
    if (bytes.length - at < total) return 'incomplete'
    const raw = bytes.subarray(at, at + total)
    if (!raw.subarray(headerBytes).includes(this.#nonce)) return 'other'
    return isCheckGood(raw) ? raw : 'bad'
  }
}

// The hello that opens a channel, said again until the guest answers: what is written before its driver is up may be lost. It owns the
// nonce that an answer must have, and the pace; what comes of the answer is the channel's.
import { randomBytes } from 'node:crypto'
import { decodeFields, encodeFields, u32Field, u32Of } from '../frame/fields.ts'
import { encodeFrame, type Frame, frameType, protocolVersion } from '../frame/frame.ts'
import { type AgentInfo, readAgentInfo } from './agent-info.ts'

const nonceBytes = 16

export class Greeting {
  readonly #intervalMs: number
  readonly #write: (raw: Buffer) => void
  #nonce = randomBytes(nonceBytes)
  #timer: NodeJS.Timeout | undefined
  #lastMs = 0

  /** `write` may drop a hello: it is said again. */
  constructor(options: { intervalMs: number; write: (raw: Buffer) => void }) {
    this.#intervalMs = options.intervalMs
    this.#write = options.write
  }

  get nonce(): Buffer {
    return this.#nonce
  }

  /** From here on only the answer to a hello with a new nonce, which is returned, counts. */
  begin(): Buffer {
    this.#nonce = randomBytes(nonceBytes)
    return this.#nonce
  }

  /** Says hello now, and again until `stop`. */
  say(): void {
    const payload = encodeFields([
      [1, this.#nonce],
      [2, u32Field(protocolVersion)],
    ])
    this.#lastMs = performance.now()
    this.#write(encodeFrame({ type: frameType.hello, payload }))
    this.#sayIn(this.#intervalMs)
  }

  /** Not before an interval after the last one: a guest that breaks every frame costs one hello an interval, not a busy loop. */
  sayInTurn(): void {
    this.#sayIn(Math.max(0, this.#lastMs + this.#intervalMs - performance.now()))
  }

  /** Bytes came from the guest: its driver is up, though it may have lost the hello. */
  hasten(): void {
    if (performance.now() - this.#lastMs < this.#intervalMs / 4) return
    this.#lastMs = performance.now()
    this.#sayIn(0)
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** Undefined where the frame does not answer the newest nonce. */
  answerIn(frame: Frame): { readonly version: number | undefined; readonly info: AgentInfo } | undefined {
    const fields = decodeFields(frame.payload)
    const nonce = fields?.find((field) => field.tag === 1)?.value
    if (fields === undefined || nonce?.equals(this.#nonce) !== true) return undefined
    return { version: u32Of(fields, 2), info: readAgentInfo(fields) }
  }

  #sayIn(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.say(), ms)
  }
}

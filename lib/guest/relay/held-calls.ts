// Sessions that speak as callers do and that nobody knows, while a vmrmd that was just started meets calls from before: their servers
// may come back. It ends none of them.
import { type Frame, frameType } from '../frame/frame.ts'
import { guestSessionBreach } from '../frame/frame-rules.ts'

export class HeldCalls {
  /** With the newest RESUME of each; undefined when the time for that is over. */
  #held: Map<bigint, Buffer | undefined> | undefined = new Map()
  readonly #most: number
  readonly #timer: NodeJS.Timeout

  /** At most so many are kept, for `recoverMs`; then `onOver` gets those that nobody has taken. */
  constructor(options: { most: number; recoverMs: number; onOver: (left: Iterable<bigint>) => void }) {
    this.#most = options.most
    this.#timer = setTimeout(() => {
      const left = this.#held?.keys() ?? []
      this.#held = undefined
      options.onOver(left)
    }, options.recoverMs)
  }

  get isOver(): boolean {
    return this.#held === undefined
  }

  /** A frame of a session that nobody knows. */
  hold(frame: Frame): 'held' | 'unknown' {
    const held = this.#held
    const isCallers = frame.type === frameType.resume || guestSessionBreach(frame, 'task') !== undefined
    if (held === undefined || !isCallers) return 'unknown'
    if (held.size >= this.#most && !held.has(frame.session)) return 'unknown'
    held.set(frame.session, frame.type === frameType.resume ? Buffer.from(frame.raw) : held.get(frame.session))
    return 'held'
  }

  /** Its newest RESUME; the session is a known one from now on. */
  take(session: bigint): Buffer | undefined {
    const resume = this.#held?.get(session)
    this.#held?.delete(session)
    return resume
  }

  stop(): void {
    clearTimeout(this.#timer)
  }
}

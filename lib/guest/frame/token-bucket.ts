// How often something may be done: a burst, then so many a second. It only counts; what has to wait is its user's.

const refillMs = 50

export class TokenBucket {
  readonly #options: { readonly perSecond: number; readonly burst: number; readonly refilled: () => void }
  #tokens: number
  #timer: NodeJS.Timeout | undefined

  /** `refilled` is called when there is something to take again after `take` answered 'empty'. */
  constructor(options: { perSecond: number; burst: number; refilled: () => void }) {
    this.#options = options
    this.#tokens = options.burst
  }

  take(): 'taken' | 'empty' {
    // The clock runs while it is not full only, so that an idle one costs nothing.
    this.#timer ??= setTimeout(() => this.#refill(), refillMs)
    if (this.#tokens < 1) return 'empty'
    this.#tokens -= 1
    return 'taken'
  }

  stop(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #refill(): void {
    this.#timer = undefined
    const { perSecond, burst, refilled } = this.#options
    this.#tokens = Math.min(burst, this.#tokens + (perSecond * refillMs) / 1000)
    if (this.#tokens < burst) this.#timer = setTimeout(() => this.#refill(), refillMs)
    refilled()
  }
}

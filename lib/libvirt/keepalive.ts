// Keep-alive of one connection: when to ping, and when to take the other end for dead. It never touches the socket itself.

export interface KeepAliveOptions {
  readonly intervalMs: number
  /** Pings in a row that may stay without any sign of life; the connection is dead one interval after the last. */
  readonly maxUnanswered: number
  sendPing(): void
  /** Called once, `maxUnanswered + 1` to `maxUnanswered + 2` intervals after the last sign of life. */
  onDead(silentForMs: number): void
}

/** Pings only into silence: any received bytes are a sign of life. A process that was stopped for long is not taken for a dead peer. */
export class KeepAlive {
  readonly #options: KeepAliveOptions
  readonly #timer: NodeJS.Timeout
  #unanswered = 0
  #isSilent = false

  constructor(options: KeepAliveOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#tick(), options.intervalMs)
  }

  /** Something was received. */
  heard(): void {
    this.#isSilent = false
    this.#unanswered = 0
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const { intervalMs, maxUnanswered } = this.#options
    if (!this.#isSilent) {
      this.#isSilent = true
      return
    }
    if (this.#unanswered === maxUnanswered) {
      this.stop()
      this.#options.onDead(intervalMs * (maxUnanswered + 1))
      return
    }
    this.#unanswered++
    this.#options.sendPing()
  }
}

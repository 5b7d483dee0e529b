// Events between a connection and whoever iterates over them. Bounded: a reader that does not read loses its subscription.

const limit = 10_000

export class EventQueue<T> {
  readonly #items: T[] = []
  #failure: Error | undefined
  #wake: (() => void) | undefined

  /** False when the reader is too far behind. */
  push(item: T): boolean {
    if (this.#items.length >= limit) return false
    this.#items.push(item)
    this.#wake?.()
    return true
  }

  /** What has been pushed is still read; then the iteration throws. */
  fail(error: Error): void {
    this.#failure ??= error
    this.#wake?.()
  }

  async *read(onEnd: () => void): AsyncGenerator<T, void, undefined> {
    try {
      for (;;) {
        const item = this.#items.shift()
        if (item !== undefined) yield item
        else if (this.#failure !== undefined) throw this.#failure
        else await this.#change()
      }
    } finally {
      onEnd()
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }
}

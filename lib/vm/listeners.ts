// Who is told of something. A listener that throws harms neither the teller nor the other listeners.
import type { Log } from '../log.ts'

export class Listeners<T> {
  readonly #listeners = new Set<(value: T) => void>()
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  /** Returns the removal. */
  add(listener: (value: T) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  tell(value: T): void {
    for (const listener of this.#listeners) {
      try {
        listener(value)
      } catch (error) {
        this.#log.error('hypervisor.listener-failed', { error: String(error) })
      }
    }
  }
}

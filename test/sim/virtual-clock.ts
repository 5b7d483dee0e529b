// Time that passes only when nothing else is left to do: timers of everything in this process run in the order of their
// hours, without waiting. For simulations; tap's own timers must not be needed meanwhile.
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'

interface Timer {
  readonly atMs: number
  readonly order: number
  readonly work: () => void
  readonly everyMs: number | undefined
}

const real = {
  setTimeout: globalThis.setTimeout,
  clearTimeout: globalThis.clearTimeout,
  setInterval: globalThis.setInterval,
  clearInterval: globalThis.clearInterval,
  delay: timers.setTimeout,
}

export class VirtualClock {
  readonly #timers = new Map<object, Timer>()
  #order = 0
  nowMs = 0
  /** Timers that have run. */
  steps = 0

  /** Takes the place of the process's timers until `uninstall`. */
  install(): void {
    const start = (work: () => void, ms = 0, everyMs?: number) => this.#start(work, ms, everyMs)
    const stop = (handle: unknown) => void this.#timers.delete(handle as object)
    Object.assign(globalThis, {
      setTimeout: (work: () => void, ms?: number) => start(work, ms),
      setInterval: (work: () => void, ms = 1) => start(work, ms, ms),
      clearTimeout: stop,
      clearInterval: stop,
    })
    timers.setTimeout = ((ms: number, value: unknown, { signal }: { signal?: AbortSignal } = {}) =>
      this.delay(ms, signal).then(() => value)) as typeof timers.setTimeout
    syncBuiltinESMExports()
  }

  uninstall(): void {
    const { delay, ...globals } = real
    Object.assign(globalThis, globals)
    timers.setTimeout = delay
    syncBuiltinESMExports()
  }

  /** Runs `work` then; the returned function takes that back. */
  after(ms: number, work: () => void): () => void {
    const handle = this.#start(work, ms)
    return () => void this.#timers.delete(handle)
  }

  delay(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (signal?.aborted === true) return Promise.reject(signal.reason)
    const handle = this.#start(resolve, ms)
    signal?.addEventListener('abort', () => {
      if (this.#timers.delete(handle)) reject(signal.reason)
    })
    return promise
  }

  /** Runs what is due until `untilMs`; afterwards it is that late. `each` is called after every timer. */
  async runUntil(untilMs: number, each: () => void = () => {}): Promise<void> {
    for (;;) {
      await settled()
      const next = this.#next(untilMs)
      if (next === undefined) break
      const [handle, timer] = next
      this.nowMs = timer.atMs
      this.#timers.delete(handle)
      if (timer.everyMs !== undefined)
        this.#timers.set(handle, { ...timer, atMs: timer.atMs + timer.everyMs, order: ++this.#order })
      timer.work()
      this.steps += 1
      await settled()
      each()
    }
    this.nowMs = untilMs
  }

  #start(work: () => void, ms: number, everyMs?: number): object {
    const handle = { unref: () => handle, ref: () => handle }
    this.#timers.set(handle, { atMs: this.nowMs + Math.max(0, ms), order: ++this.#order, work, everyMs })
    return handle
  }

  #next(untilMs: number): readonly [object, Timer] | undefined {
    let found: readonly [object, Timer] | undefined
    for (const entry of this.#timers) {
      const [, timer] = entry
      if (timer.atMs > untilMs) continue
      const isFirst =
        found === undefined ||
        timer.atMs < found[1].atMs ||
        (timer.atMs === found[1].atMs && timer.order < found[1].order)
      if (isFirst) found = entry
    }
    return found
  }
}

/** Everything that waits for nothing but promises has run: a chain of them is rarely longer than this. */
async function settled(): Promise<void> {
  for (let round = 0; round < 3; round += 1) await new Promise((resolve) => setImmediate(resolve))
}

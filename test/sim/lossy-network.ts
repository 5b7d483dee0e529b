// Messages that get lost, come twice, late and out of order. A call is answered, or its caller is told that nobody is there.
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import type { Random } from '../support/random.ts'
import type { VirtualClock } from './virtual-clock.ts'

export interface Faults {
  /** Of a hundred messages. */
  lostPercent: number
  twicePercent: number
  latestMs: number
}

export const noFaults: Faults = { lostPercent: 0, twicePercent: 0, latestMs: 5 }

export class LossyNetwork {
  readonly #clock: VirtualClock
  readonly #random: Random
  faults: Faults
  sent = 0
  lost = 0
  twice = 0

  constructor(options: { clock: VirtualClock; random: Random; faults: Faults }) {
    this.#clock = options.clock
    this.#random = options.random
    this.faults = options.faults
  }

  /** Calls `target` where the message arrives, `timeoutMs` being how long its sender waits for the answer. */
  call<T>(target: () => Promise<T>, timeoutMs = 10_000): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    const unreachable = () => reject(new VmrmError('controller-unreachable', 'no answer'))
    this.#deliver(async () => {
      const answer = await target().then(
        (value) => () => resolve(value),
        (error: unknown) => () => reject(error),
      )
      this.#deliver(answer)
    })
    const cancel = this.#clock.after(timeoutMs, unreachable)
    promise.then(cancel, cancel)
    return promise
  }

  #deliver(arrive: () => unknown): void {
    this.sent += 1
    if (this.#random.int(100) < this.faults.lostPercent) {
      this.lost += 1
      return
    }
    const isTwice = this.#random.int(100) < this.faults.twicePercent
    if (isTwice) this.twice += 1
    for (let copy = 0; copy < (isTwice ? 2 : 1); copy += 1) {
      // Most are quick; the late ones are what changes the order.
      const isLate = this.#random.int(4) === 0
      const ms = isLate ? this.#random.int(this.faults.latestMs + 1) : this.#random.int(5)
      this.#clock.after(ms, () => void arrive())
    }
  }
}

// Admission: so many at once, the rest in the order they came.
import { once } from 'node:events'

export interface Semaphore {
  /** Runs `work` when there is a place. Rejects with the signal's reason if it aborts before; `work` is not begun then. */
  run<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T>
}

export function createSemaphore(places: number): Semaphore {
  let free = places
  const waiting: EventTarget[] = []
  return {
    async run(work, signal) {
      signal.throwIfAborted()
      if (free > 0) free -= 1
      else {
        const turn = new EventTarget()
        waiting.push(turn)
        try {
          await once(turn, 'turn', { signal })
        } catch (error) {
          const at = waiting.indexOf(turn)
          // The turn may have come in the same instant as the abort: then it goes to the next one.
          if (at === -1) release()
          else waiting.splice(at, 1)
          throw signal.aborted ? signal.reason : error
        }
      }
      try {
        return await work()
      } finally {
        release()
      }
    },
  }

  function release(): void {
    const next = waiting.shift()
    if (next === undefined) free += 1
    else next.dispatchEvent(new Event('turn'))
  }
}

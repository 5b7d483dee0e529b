// What could not be written to the ledger, as on a full disk: it is kept, and tried again until it is written or its run is
// over. It decides nothing.
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import { type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { Ledger } from '../ledger/ledger.ts'

/** Something to be written of a run. */
export interface ToWrite {
  readonly run: Run
  /** Tells it from the run's others; what has the same name replaces it. */
  readonly what: string
  /** Is in the ledger when this returns, or throws; the promise is for what comes after. Safe to repeat. */
  readonly write: () => Promise<void>
}

export interface Unwritten {
  /** Writes it now. Rejects if that cannot be done; then it is kept, and logged unless the same was kept before. */
  write(item: ToWrite): Promise<void>
  /** Tries all again that was kept. */
  again(): void
}

export function createUnwritten({ ledger, log }: { ledger: Pick<Ledger, 'find'>; log: Log }): Unwritten {
  const kept = new Map<string, ToWrite>()

  const keyOf = ({ run, what }: ToWrite) => `${runId(run)} ${what}`
  const isOver = (run: Run) => {
    const state = ledger.find(run)?.state
    return state === undefined || state === 'ending' || state === 'ended'
  }
  const attempt = async (item: ToWrite, isWanted: () => boolean) => {
    const key = keyOf(item)
    // What is told of it takes its time, and it must not be written again meanwhile.
    kept.delete(key)
    try {
      if (isWanted()) await item.write()
    } catch (error) {
      kept.set(key, item)
      throw error
    }
  }
  return {
    async write(item) {
      const isNews = !kept.has(keyOf(item))
      try {
        await attempt(item, () => true)
      } catch (error) {
        if (isNews)
          log.warn('decision.not-written', { run: runId(item.run), what: item.what, text: toVmrmError(error).message })
        throw error
      }
    },
    again() {
      // Said once: the disk may be full for a day.
      for (const item of [...kept.values()]) attempt(item, () => !isOver(item.run)).catch(() => {})
    },
  }
}

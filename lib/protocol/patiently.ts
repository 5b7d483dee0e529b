// Waits for a daemon that is away, as while it is restarted: what it was to be told is told again, with pauses, and a bound. What
// is told so must be safe to repeat.
import { setTimeout as delay } from 'node:timers/promises'
import { toVmrmError, type VmrmError } from '../errors/vmrm-error.ts'

export interface Patience {
  /** Since the beginning of the first try that found nobody. */
  readonly patienceMs: number
  readonly pauseMs: number
  /** Whether the failure of a try that took so long means that nobody is there: every other one is final. */
  readonly isAway: (error: VmrmError, tookMs: number) => boolean
  /** A try that took longer had somebody before it failed, and the patience begins anew. Longer than a try can hang, or not given. */
  readonly presentMs?: number
  /** Ends a pause with its reason. */
  readonly signal?: AbortSignal
  /** Before the first pause. */
  readonly onWait?: () => void
  readonly now?: () => number
}

/** What `say` resolves to; rejects with its last failure. */
export async function patiently<T>(say: () => Promise<T>, patience: Patience): Promise<T> {
  const { patienceMs, pauseMs, isAway, presentMs = Number.POSITIVE_INFINITY, signal, onWait } = patience
  const now = patience.now ?? (() => performance.now())
  let awaySinceMs: number | undefined
  for (let isFirst = true; ; isFirst = false) {
    const beganMs = now()
    try {
      return await say()
    } catch (thrown) {
      const failedMs = now()
      const tookMs = failedMs - beganMs
      awaySinceMs = tookMs > presentMs ? failedMs : (awaySinceMs ?? beganMs)
      if (!isAway(toVmrmError(thrown), tookMs) || failedMs - awaySinceMs >= patienceMs) throw thrown
    }
    if (isFirst) onWait?.()
    await delay(pauseMs, undefined, signal === undefined ? {} : { signal })
  }
}

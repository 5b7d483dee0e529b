// A call about a batch that may come twice: it is repeated while the controller does not answer, as one that is being restarted.
import { setTimeout as delay } from 'node:timers/promises'
import type { ErrorCode } from '../../errors/catalogue.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { awayMs } from './await-batch.ts'

const pauseMs = 500

/** Rejects with what `call` rejects with when that passes by no waiting, after `patienceMs`, or once the signal aborts. */
export async function callPatiently<T>(
  call: () => Promise<T>,
  options: {
    signal: AbortSignal
    tell: (line: string) => void
    /** What may pass beside a controller that does not answer. */
    passing?: readonly ErrorCode[]
    patienceMs?: number
  },
): Promise<T> {
  const { signal, tell, passing = [], patienceMs = awayMs } = options
  const beganMs = performance.now()
  for (let isTold = false; ; isTold = true) {
    try {
      return await call()
    } catch (error) {
      const { code } = toVmrmError(error)
      const mayPass = code === 'controller-unreachable' || passing.includes(code)
      if (signal.aborted || !mayPass || performance.now() - beganMs > patienceMs) throw error
      if (!isTold) tell(`the controller does not answer; waiting for it, at most ${Math.ceil(patienceMs / 1000)} s`)
    }
    await delay(pauseMs, undefined, { signal })
  }
}

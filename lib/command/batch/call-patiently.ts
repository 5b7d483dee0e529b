// A call about a batch that may come twice: it is repeated while the controller does not answer, as one that is being restarted.
import type { ErrorCode } from '../../errors/catalogue.ts'
import { patiently } from '../../protocol/patiently.ts'
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
    patienceMs?: number | undefined
  },
): Promise<T> {
  const { signal, tell, passing = [], patienceMs = awayMs } = options
  const seconds = Math.ceil(patienceMs / 1000)
  return patiently(call, {
    ...{ patienceMs, pauseMs, signal },
    isAway: ({ code }) => !signal.aborted && (code === 'controller-unreachable' || passing.includes(code)),
    onWait: () => tell(`the controller does not answer; waiting for it, at most ${seconds} s`),
  })
}

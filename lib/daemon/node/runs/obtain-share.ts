// Gets a run's plan from the controller: patient while the controller is silent or busy, with a bound.
import { setTimeout as delay } from 'node:timers/promises'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import type { ControllerLink } from '../ports.ts'
import type { LiveRun } from './live-run.ts'

const retryMs = 200

/** The controller has refused the run already: it need not be told. */
export class Refusal extends VmrmError {
  constructor(reason: string) {
    super('request-invalid', reason)
  }
}

/**
 * The node's share. Rejects with a Refusal, with `controller-unreachable` after `shareMs` without a sign of life, or with
 * the run's own end.
 */
export async function obtainShare(
  run: LiveRun,
  options: { controller: ControllerLink; shareMs: number; now: () => number },
): Promise<Share> {
  const { signal } = run.stop
  const { controller, shareMs, now } = options
  let heardMs = now()
  let last: unknown = new VmrmError('controller-unreachable', 'the controller did not hand out the plan of the run')
  for (;;) {
    if (signal.aborted) throw isEnd(signal.reason) ? signal.reason : last
    try {
      const answer = await controller.getShare(run.entry, signal)
      if (answer.state === 'share') return answer.share
      if (answer.state === 'refused') throw new Refusal(answer.reason)
      if (answer.state === 'pending') heardMs = now()
    } catch (error) {
      if (error instanceof Refusal) throw error
      if (!signal.aborted) last = error
    }
    if (now() - heardMs > shareMs) throw last
    await delay(retryMs, undefined, { signal }).catch(() => {}) // the abort is looked at above
  }
}

function isEnd(reason: unknown): boolean {
  return reason instanceof VmrmError && reason.code === 'run-ended'
}

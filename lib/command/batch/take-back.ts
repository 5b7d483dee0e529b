// Removes a batch that its creator does not want any more, and says how it goes. A controller that is being restarted meanwhile
// is waited for; whoever will not wait is told what may be left.
import { setTimeout as delay } from 'node:timers/promises'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import { awaitBatch, awayMs, callMs, notConfirmed } from './await-batch.ts'

const pauseMs = 500

/** `again`: interrupted once more, which ends the wait. Throws what keeps the batch from being removed, naming it. */
export async function takeBack(
  controller: Pick<ProtocolClient, 'call'>,
  options: { batch: number; again: AbortSignal; tell: (line: string) => void; patienceMs?: number },
): Promise<void> {
  const { batch, again, tell, patienceMs = awayMs } = options
  tell(`interrupted: batch b${batch} is removed`)
  try {
    await destroyPatiently(controller, { batch, again, tell, patienceMs })
    const run = await awaitBatch(controller, { batch, until: 'ended', signal: again })
    if (run !== 'interrupted' && run.state !== 'ended') tell(notConfirmed(batch))
  } catch (thrown) {
    if (again.aborted) return
    const { code, message } = toVmrmError(thrown)
    throw new VmrmError(code, `batch b${batch} may still be there: ${message}`, {
      cause: thrown,
      hint: `Remove it with vmrm destroy b${batch}.`,
    })
  } finally {
    if (again.aborted)
      tell(
        `interrupted again: batch b${batch} may still be there; see vmrm ps b${batch}, remove it with vmrm destroy b${batch}`,
      )
  }
}

async function destroyPatiently(
  controller: Pick<ProtocolClient, 'call'>,
  options: { batch: number; again: AbortSignal; tell: (line: string) => void; patienceMs: number },
): Promise<void> {
  const { batch, again, tell, patienceMs } = options
  const beganMs = performance.now()
  for (let isTold = false; ; isTold = true) {
    try {
      await controller.call('destroy-batch', { batch }, { signal: again, timeoutMs: callMs })
      return
    } catch (error) {
      const { code } = toVmrmError(error)
      const mayCome = code === 'controller-unreachable' || code === 'ledger-rebuilding'
      if (again.aborted || !mayCome || performance.now() - beganMs > patienceMs) throw error
      if (!isTold) tell(`the controller does not answer; waiting for it, at most ${Math.ceil(patienceMs / 1000)} s`)
    }
    await delay(pauseMs, undefined, { signal: again })
  }
}

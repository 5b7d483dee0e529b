// Removes a batch that its creator does not want any more, and says how it goes. A controller that is being restarted meanwhile
// is waited for; whoever will not wait is told what may be left.
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import { awaitBatch, callMs, notConfirmed } from './await-batch.ts'
import { callPatiently } from './call-patiently.ts'

/** `again`: interrupted once more, which ends the wait. Throws what keeps the batch from being removed, naming it. */
export async function takeBack(
  controller: Pick<ProtocolClient, 'call'>,
  options: { batch: number; again: AbortSignal; tell: (line: string) => void; patienceMs?: number },
): Promise<void> {
  const { batch, again, tell, patienceMs } = options
  tell(`interrupted: batch b${batch} is removed`)
  try {
    const destroy = () => controller.call('destroy-batch', { batch }, { signal: again, timeoutMs: callMs })
    await callPatiently(destroy, { signal: again, tell, passing: ['ledger-rebuilding'], patienceMs })
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

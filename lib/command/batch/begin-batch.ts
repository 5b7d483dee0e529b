// The request for a batch until its number is known, also when somebody interrupts it meanwhile: without the number nobody knows
// whether there is something to remove.
import { toVmrmError } from '../../errors/vmrm-error.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import type { RequestOf } from '../../protocol/messages.ts'
import { callMs } from './await-batch.ts'
import { callPatiently } from './call-patiently.ts'

/**
 * Its number. Once interrupted it goes on until it has that, the controller is given up, or `again` is aborted; undefined if it
 * has none then, and what may be left is told.
 */
export async function beginBatch(
  controller: Pick<ProtocolClient, 'call'>,
  request: RequestOf<'create-batch'>,
  options: { interrupted: AbortSignal; again: AbortSignal; tell: (line: string) => void; patienceMs?: number },
): Promise<number | undefined> {
  const { interrupted, again, tell, patienceMs } = options
  const onInterrupt = () =>
    tell('interrupted: waiting for the controller to say whether it has begun a batch, to remove that')
  interrupted.addEventListener('abort', onInterrupt)
  try {
    // The controller may have it and be killed before it answers: the name makes the repetition the same batch.
    const call = () => controller.call('create-batch', request, { timeoutMs: callMs, signal: again })
    return (await callPatiently(call, { signal: again, tell, patienceMs })).batch
  } catch (error) {
    if (!interrupted.aborted) throw error
    const { code, message } = toVmrmError(error)
    const { name } = request
    const mayCome = `a batch of the name ${name} may come; see vmrm ps, remove it with vmrm destroy ${name}`
    if (again.aborted) tell(`interrupted again: ${mayCome}`)
    else tell(code === 'controller-unreachable' ? `${message}; ${mayCome}` : message)
    return undefined
  } finally {
    interrupted.removeEventListener('abort', onInterrupt)
  }
}

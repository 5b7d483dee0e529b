// An administrator's word that a node is gone for good: what was leased to VMs on it is free, and nobody waits for it.
// It takes that word of no node that still answers.
import { VmrmError } from '../../errors/vmrm-error.ts'
import { type Run, runId } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import { eachOrFirstError } from '../each-or-first-error.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { NodeTeller } from './node-ports.ts'
import type { Transactions } from './transaction/transaction.ts'

/** Returns the runs that had a share there. Throws `request-invalid` for a node whose vmrmd answers. */
export async function forgetNode(
  node: string,
  options: { ledger: Ledger; nodes: Pick<NodeTeller, 'answers'>; transactions: Transactions; log: Log },
): Promise<readonly Run[]> {
  const { ledger, nodes, transactions, log } = options
  if (await nodes.answers(node))
    throw new VmrmError('request-invalid', `the vmrmd of node ${node} answers: what is over is removed by itself`)
  ledger.setGone(node)
  const open = ledger.inState('preparing', 'committed', 'aborted', 'lost', 'ending')
  const held = open.filter((run) => ledger.shares(run).some((share) => share.node === node && share.state !== 'ended'))
  eachOrFirstError(held, (run) => {
    log.warn('run.forgotten', { run: runId(run), node })
    transactions.nodeEnded(run, node)
  })
  return held.map(({ job, restart }) => ({ job, restart }))
}

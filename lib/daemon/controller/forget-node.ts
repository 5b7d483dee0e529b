// An administrator's word that a node is gone for good: what was leased to VMs on it is free, and nobody waits for it. VMs of a
// batch that were there are lost, also when the node comes back with them. It takes that word of no node that still answers.
import { VmrmError } from '../../errors/vmrm-error.ts'
import { isBatch, type Run, runId, vmName } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import { allOrFirstError } from '../all-or-first-error.ts'
import type { Ledger, RunRecord } from './ledger/ledger.ts'
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
  const forgotten = held.map(async (run) => {
    log.warn('run.forgotten', { run: runId(run), node })
    await giveUp(run, node, transactions)
    // Back already: it removes what it has, and confirms that itself.
    if (!ledger.goneNodes().has(node)) return
    transactions.nodeEnded(run, node)
    // A job's end is Slurm's to tell.
    if (isBatch(run) && ledger.areAll(run, 'ended')) transactions.end(run)
  })
  // One that cannot be written keeps none of the others.
  await allOrFirstError(forgotten)
  return held.map(({ job, restart }) => ({ job, restart }))
}

/** What the run had on the node, or was to have: nobody else tells of it. */
async function giveUp(run: RunRecord, node: string, transactions: Transactions): Promise<void> {
  const reason = 'an administrator has said that the node is gone for good'
  if (run.state === 'preparing')
    return transactions.failed(run, node, { code: 'node-daemon-down', reason: `node ${node}: ${reason}` })
  if (!isBatch(run) || (run.state !== 'committed' && run.state !== 'lost')) return
  for (const { index } of run.plan?.nodes.find((each) => each.node === node)?.vms ?? [])
    await transactions.lost(run, { node, vm: vmName(run, index), reason })
}

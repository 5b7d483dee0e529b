// Has a run removed by the nodes themselves, where no Epilog does it or will. It removes nothing from the ledger: that is done
// when every node has confirmed.
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { type Run, runId } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { NodeCaller } from './node-ports.ts'
import type { Transactions } from './transaction/transaction.ts'

export interface Remover {
  /** Asks every node that has not confirmed; resolves when each has answered or cannot be reached. Never rejects. */
  remove(run: Run): Promise<void>
}

export function createRemover(options: {
  ledger: Pick<Ledger, 'shares'>
  transactions: Pick<Transactions, 'end' | 'nodeEnded'>
  nodes: Pick<NodeCaller, 'destroyRun'>
  log: Log
}): Remover {
  const { ledger, transactions, nodes, log } = options
  const underWay = new Map<string, Promise<void>>()

  const removeFrom = async (run: Run, node: string) => {
    try {
      await nodes.destroyRun(node, run)
      transactions.nodeEnded(run, node)
      log.info('run.destroyed', { run: runId(run), node })
    } catch (error) {
      // Its leases stay: nobody may have its addresses before the node has confirmed.
      log.warn('run.quarantined', { run: runId(run), node, text: toVmrmError(error).message })
    }
  }
  /** Its last node had confirmed, and that could not be written. */
  const endAgain = (run: Run) => {
    try {
      transactions.end(run)
    } catch (error) {
      log.warn('run.not-ended', { run: runId(run), text: toVmrmError(error).message })
    }
  }
  const removeAll = async (run: Run) => {
    const left = ledger.shares(run).filter((share) => share.state !== 'ended')
    if (left.length === 0) endAgain(run)
    await Promise.all(left.map(({ node }) => removeFrom(run, node)))
  }
  return {
    remove(run) {
      const name = runId(run)
      const known = underWay.get(name) ?? removeAll(run).finally(() => underWay.delete(name))
      underWay.set(name, known)
      return known
    },
  }
}

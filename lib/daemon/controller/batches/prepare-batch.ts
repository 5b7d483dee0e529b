// Has the nodes of a batch begin with its VMs, as Slurm's Prologs do for a job. It repeats itself until a node has heard, and
// reports a node that does not answer; what comes of it the nodes report themselves.
import { toVmrmError, type VmrmError } from '../../../errors/vmrm-error.ts'
import { type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { patiently } from '../../../protocol/patiently.ts'
import { createSemaphore } from '../../semaphore.ts'
import { reached } from '../../steps.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { NodeCaller } from '../node-ports.ts'
import type { Transactions } from '../transaction/transaction.ts'

const pauseMs = 500
const nodesAtOnce = 64
/** Each call has its own bound. */
const never = new AbortController().signal

export interface BatchPreparer {
  /** All nodes of a planned batch; returns at once. */
  prepare(run: Run): void
  /** One that may have forgotten it, as after a restart of its vmrmd. Nothing is done unless its VMs are still wanted. */
  prepareAgain(run: Run, node: string): void
}

export function createBatchPreparer(options: {
  ledger: Pick<Ledger, 'find' | 'share' | 'shares' | 'batchOf'>
  transactions: Pick<Transactions, 'failed'>
  nodes: Pick<NodeCaller, 'prepareBatch'>
  log: Log
  /** How long a node's daemon may be away, as in its own Prolog. */
  awayMs: number
  now: () => number
}): BatchPreparer {
  const { ledger, transactions, nodes, log, awayMs, now } = options
  const calls = createSemaphore(nodesAtOnce)

  /** Does nothing where the node is to make nothing any more. */
  const tell = async (run: Run, node: string): Promise<void> => {
    const record = ledger.find(run)
    const batch = ledger.batchOf(run)
    if (record?.state !== 'preparing' || batch === undefined || ledger.share(run, node) !== 'planned') return
    await reached('batch.telling', runId(run))
    await nodes.prepareBatch(node, record, batch)
  }

  const tellPatiently = async (run: Run, node: string): Promise<void> => {
    const isAway = ({ code }: VmrmError) => code === 'daemon-unreachable'
    try {
      const patience = { patienceMs: awayMs, pauseMs, isAway, now }
      await patiently(() => calls.run(() => tell(run, node), never), patience)
    } catch (thrown) {
      const error = toVmrmError(thrown)
      log.warn('batch.not-told', { run: runId(run), node, text: error.message })
      const reason = isAway(error) ? `the vmrmd of node ${node} does not answer` : `node ${node}: ${error.message}`
      await transactions.failed(run, node, { code: isAway(error) ? 'node-daemon-down' : error.code, reason })
    }
  }

  /** It asks again with its next hello, and the batch has its deadline. */
  const unlessFails = (run: Run, node: string, work: Promise<void>) =>
    void work.catch((error: unknown) =>
      log.warn('batch.not-told', { run: runId(run), node, text: toVmrmError(error).message }),
    )

  return {
    prepare(run) {
      for (const { node } of ledger.shares(run)) unlessFails(run, node, tellPatiently(run, node))
    },
    prepareAgain(run, node) {
      unlessFails(
        run,
        node,
        calls.run(() => tell(run, node), never),
      )
    },
  }
}

// What is learnt of a run's nodes while it prepares and runs, and what follows from it for the run. What cannot be written is
// kept until it is, for not all of it is told again.
import { catalogue, type ErrorCode, type ErrorFamily } from '../../../errors/catalogue.ts'
import { isBatch, type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { Ledger, MissingVm, RunRecord } from '../ledger/ledger.ts'
import type { Messenger } from '../messenger.ts'
import { abort, type Cause, type Decisions } from './decisions.ts'
import type { Unwritten } from './unwritten.ts'

export interface NodeReports {
  /** The node's VMs are ready, but for those that are missing, which only best-effort allows. Throws what could not be written. */
  prepared(run: Run, node: string, missing?: readonly MissingVm[]): void
  /** Resolves, as `lost` does, when the cause is in AdminComment: what the node does then may end the job. */
  failed(run: Run, node: string, cause: Cause): Promise<void>
  lost(run: Run, cause: { node: string; vm: string; reason: string }): Promise<void>
  /** These nodes could not be told of a run whose job Slurm itself sends back to the queue. Resolves as `failed` does. */
  notExpected(run: Run, nodes: readonly string[]): Promise<void>
  /** The daemon of a node has gone and not come back: what was being prepared there cannot become whole. */
  nodeLost(node: string): void
}

export function createNodeReports(options: {
  ledger: Ledger
  decisions: Decisions
  unwritten: Pick<Unwritten, 'write'>
  messenger: Pick<Messenger, 'drainNode' | 'handleNodeFault'>
  log: Log
}): NodeReports {
  const { ledger, decisions, unwritten, messenger, log } = options

  /** After a node's report. What all have reported is read when it can decide something, and not for each of a thousand reports. */
  const settleIfDue = ({ plan, ...run }: RunRecord, node: string): Promise<void> => {
    const isDue =
      plan?.strategy === 'best-effort'
        ? // Without its first node it cannot begin; else it waits for all.
          plan.nodes[0]?.node === node || !ledger.isAny(run, 'planned')
        : ledger.areAll(run, 'prepared')
    return isDue ? decisions.settle({ plan, ...run }, { code: 'vm-start-failed' }) : Promise.resolve()
  }

  const prepared: NodeReports['prepared'] = (run, node, missing = []) => {
    const share = ledger.share(run, node)
    if (share !== 'planned' && share !== 'prepared') return
    const record = ledger.find(run)
    if (record?.state !== 'preparing') return
    // Told again, it may be that the decision could not be written the first time.
    if (share === 'planned') ledger.setShare(run, node, { state: 'prepared', missing })
    void settleIfDue(record, node)
  }

  const recordFailure = async (run: Run, node: string, cause: Cause) => {
    const record = ledger.find(run)
    const before = ledger.share(run, node)
    // Nothing is left there, and that it was told before is no news.
    if (before === 'ended') return
    ledger.setShare(run, node, { state: 'failed', reason: cause.reason })
    // PrologSlurmctld was killed before it could tell of the run: the user still has to read why it failed.
    if (record === undefined) return decisions.commentInTime(run, cause.reason)
    if (record.state !== 'preparing') return
    const isBestEffort = record.plan?.strategy === 'best-effort'
    const decided = isBestEffort ? settleIfDue(record, node) : decisions.decide(run, abort, cause)
    if (familyOf(cause.code) === 'node') {
      // A job that goes on without the node needs no other one. The node tells of its failure until it hears an answer.
      if (ledger.find(run)?.state === 'aborted') messenger.handleNodeFault(run, node, cause)
      else if (before !== 'failed') messenger.drainNode(run, node, cause)
    }
    await decided
  }
  const failed: NodeReports['failed'] = (run, node, cause) =>
    unwritten.write({ run, what: `failed ${node}`, write: () => recordFailure(run, node, cause) })

  const recordLoss = async (run: Run, cause: { node: string; vm: string; reason: string }) => {
    // What the run is made without, or was lost before, is no news.
    if (ledger.missing(run).some(({ vm }) => vm === cause.vm)) return
    const reason = `VM ${cause.vm} on node ${cause.node} is gone: ${cause.reason}`
    const record = ledger.find(run)
    if (record !== undefined && isBatch(run) && (record.state === 'committed' || record.state === 'lost'))
      return lostOfBatch(record, cause, reason)
    const change = record?.state === 'preparing' ? abort : ({ from: ['committed'], to: 'lost' } as const)
    await decisions.decide(run, change, { code: 'vm-lost', reason })
  }
  /** The rest of a batch goes on: all or nothing is said of its creation. */
  const lostOfBatch = (run: RunRecord, { node, vm }: { node: string; vm: string }, reason: string) => {
    if (ledger.loseVm(run, node, { vm, reason })) log.warn('batch.vm-lost', { run: runId(run), vm, reason })
  }

  return {
    prepared,
    failed,
    lost: (run, cause) => unwritten.write({ run, what: `lost ${cause.vm}`, write: () => recordLoss(run, cause) }),
    async notExpected(run, nodes) {
      const isSilent = (which: string) => ({
        code: 'node-daemon-down',
        reason: `the vmrmd of node ${which} does not answer`,
      })
      for (const node of nodes) messenger.drainNode(run, node, isSilent(node))
      const write = () => decisions.decide(run, abort, isSilent(nodes.join(', ')))
      await unwritten.write({ run, what: 'not expected', write })
    },
    nodeLost(node) {
      const reason = `the vmrmd of node ${node} has gone and not come back`
      for (const run of ledger.inState('preparing')) {
        const share = ledger.share(run, node)
        const isOpen = share === 'planned' || share === 'prepared'
        // It is kept if it cannot be written, and nobody waits for it.
        if (isOpen) failed(run, node, { code: 'node-daemon-down', reason }).catch(() => {})
      }
    },
  }
}

function familyOf(code: string): ErrorFamily | undefined {
  return Object.hasOwn(catalogue, code) ? catalogue[code as ErrorCode].family : undefined
}

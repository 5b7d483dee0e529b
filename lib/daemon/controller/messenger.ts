// What the controller tells nodes and Slurm after a decision: in the background, with retries and a bound. Whatever is lost
// here is asked for by the nodes or repeated by the reconciler.
import { setTimeout as delay } from 'node:timers/promises'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { isBatch, type Run, runId } from '../../job/run.ts'
import type { Log, LogFields } from '../../log.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'
import { createSemaphore } from '../semaphore.ts'
import { reached } from '../steps.ts'
import type { HeldReports } from './held-reports.ts'
import type { Ledger, RunRecord } from './ledger/ledger.ts'
import type { NodeDrains } from './node-drains.ts'
import type { NodeCaller } from './node-ports.ts'
import { type NodeVerdict, verdictOf } from './transaction/verdict-of.ts'

/**
 * What the transaction tells others. Every message may fail or be lost: nodes ask again and the reconciler repeats it. Slurm
 * knows nothing of a batch and is told nothing.
 */
export interface Messenger {
  /** Tells the run's nodes the verdict, or that a run without one is over; returns at once. */
  pushVerdict(run: RunRecord): void
  /** Sets the job's AdminComment. Resolves when that is done or given up; never rejects. */
  comment(run: Run, text: string): Promise<void>
  /** Drains a node that cannot start VMs; returns at once. */
  drainNode(run: Run, node: string, cause: { code: string; reason: string }): void
  /** Drains a node that cannot start VMs and sends the job back to the queue; returns at once. */
  handleNodeFault(run: Run, node: string, cause: { code: string; reason: string }): void
}

const tries = 5
/** A thousand connections at once would all be slow, and some too slow; a node that is silent holds one place for some seconds. */
const pushesAtOnce = 64
/** The wait has the bound of the work that goes before. */
const never = new AbortController().signal
const firstPauseMs = 200

const ended = (verdict: 'abort' | 'ended'): NodeVerdict => ({ verdict, reason: 'the job has ended', missing: [] })

export function createMessenger(options: {
  ledger: Ledger
  nodes: NodeCaller
  drains: Pick<NodeDrains, 'drain'>
  reports: Pick<HeldReports, 'answer'>
  slurm: Pick<SlurmCommands, 'comment' | 'requeue'>
  log: Log
}): Messenger {
  const { ledger, nodes, drains, reports, slurm, log } = options
  const pushes = createSemaphore(pushesAtOnce)
  const tell = (work: () => Promise<void>) => pushes.run(work, never)
  const inBackground = async (event: string, of: LogFields, work: () => Promise<void>): Promise<void> => {
    try {
      await repeat(work)
    } catch (error) {
      const { message, quoted } = toVmrmError(error)
      log.warn(event, { ...of, text: [message, quoted].filter(Boolean).join(': ') })
    }
  }
  const drain: Messenger['drainNode'] = (run, node, cause) => {
    if (isBatch(run)) return
    const of = { run: runId(run), node, reason: cause.reason }
    void inBackground('node.not-drained', of, () => drains.drain(node, cause))
  }
  return {
    drainNode: drain,
    pushVerdict(record: RunRecord) {
      const { state } = record
      if (state === 'preparing' || state === 'ended') return
      for (const { node } of record.plan?.nodes ?? []) {
        void inBackground('verdict.not-pushed', { run: runId(record) }, async () => {
          await reached('verdict.telling', runId(record))
          if (ledger.find(record)?.state !== state) return
          const decided = state === 'ending' ? ended('abort') : verdictOf(ledger, record, node)
          if (!reports.answer(record, node, decided)) await tell(() => nodes.verdict(node, record, decided))
          // A node whose Prolog never began has no Epilog either, and may have been told to expect the run.
          if (state === 'ending') await tell(() => nodes.verdict(node, record, ended('ended')))
        })
      }
    },
    comment(run, text) {
      if (isBatch(run)) return Promise.resolve()
      return inBackground('comment.not-set', { run: runId(run) }, () => slurm.comment(run.job, text))
    },
    handleNodeFault(run, node, cause) {
      if (isBatch(run)) return
      drain(run, node, cause)
      void inBackground('job.not-requeued', { run: runId(run) }, () => slurm.requeue(run.job))
    },
  }
}

async function repeat(work: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work()
    } catch (error) {
      // Slurm's no is final; a peer that does not answer may be back in a moment.
      if (attempt === tries || toVmrmError(error).code === 'command-failed') throw error
      await delay(firstPauseMs * 2 ** attempt)
    }
  }
}

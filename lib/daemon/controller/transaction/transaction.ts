// A run's transaction on the controller, put together: begin, what nodes report, decisions, end. It owns what is done again
// without anybody's asking: deadlines, what could not be written, and what a start of the daemon finds undecided.
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import { type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { eachOrFirstError } from '../../each-or-first-error.ts'
import { namingRun } from '../../one-of-errors.ts'
import type { Ledger, RunRecord } from '../ledger/ledger.ts'
import type { Messenger } from '../messenger.ts'
import type { Planner } from '../planning/planner.ts'
import type { WaitingRoom } from '../waiting-room.ts'
import { type Begin, createBegin } from './begin-transaction.ts'
import { abort, createDecisions, type Decisions } from './decisions.ts'
import { createNodeReports, type NodeReports } from './node-reports.ts'
import { createRunEnd, type RunEnd } from './run-end.ts'
import { createUnwritten } from './unwritten.ts'
import { type NodeVerdict, verdictOf } from './verdict-of.ts'

export interface Transactions extends Begin, NodeReports, Pick<RunEnd, 'end' | 'nodeEnded'> {
  /** What was decided, for this node. */
  verdict(run: Run, node?: string): NodeVerdict
  /** Resolves when the cause of what was decided is in AdminComment, or that was given up: no node may hear of it before. */
  causeTold: Decisions['causeTold']
  /**
   * Aborts what is past its deadline; throws which runs' that cannot be written. What could not be written before is tried
   * again, and nothing more said of it.
   */
  expire(): void
  /** After a start of the daemon: what was undecided is aborted, for no decision is on disk. */
  recover(): void
}

export interface TransactionOptions {
  readonly ledger: Ledger
  readonly planner: Planner
  readonly messenger: Messenger
  readonly waitingRoom: Pick<WaitingRoom, 'enter' | 'leave'>
  /** Nobody else ends a batch that was given up. */
  readonly onBatchAborted: (run: Run) => void
  readonly log: Log
  readonly prepareMs: number
  /** Rejects with the sentence the user reads when nothing can be leased now. */
  readonly mayLease: () => Promise<void>
  readonly now: () => number
}

export function createTransactions(options: TransactionOptions): Transactions {
  const { ledger, log, now } = options
  const unwritten = createUnwritten(options)
  const decisions = createDecisions(options)
  const { finishIfDone, ...ends } = createRunEnd(options)
  const endOlder = (run: Run) => {
    const older = ledger.ofJob(run.job).filter(({ restart }) => restart < run.restart)
    eachOrFirstError(older, ends.end)
  }
  const refuse = (run: Run, cause: { code: string; reason: string }) =>
    unwritten.write({ run, what: 'refused', write: () => decisions.decide(run, abort, cause) })

  const expireOne = (run: RunRecord) => {
    if (now() < run.deadlineMs) return
    const lateSeconds = Math.round((now() - run.beganMs) / 1000)
    void decisions.settle(run, { lateSeconds, code: 'vm-boot-timeout' })
  }
  /** Its last node had confirmed, and nothing was done about that. The reconciler repeats what fails. */
  const finishLate = (run: Run) => {
    try {
      finishIfDone(run)
    } catch (error) {
      log.warn('run.not-ended', { run: runId(run), text: toVmrmError(error).message })
    }
  }

  return {
    ...createBegin({ ...options, unwritten, endOlder, refuse, commentInTime: decisions.commentInTime }),
    ...createNodeReports({ ...options, decisions, unwritten }),
    ...ends,
    verdict: (run, node) => verdictOf(ledger, run, node),
    causeTold: decisions.causeTold,
    expire() {
      unwritten.again()
      eachOrFirstError(ledger.inState('preparing'), (run) => namingRun(run, () => expireOne(run)))
    },
    recover() {
      const cause = { code: 'internal', reason: "the controller's vmrmd was restarted before the VMs were ready" }
      for (const run of ledger.inState('ending')) finishLate(run)
      // Nobody knows whether the cause was told before the restart.
      for (const run of ledger.inState('aborted', 'lost'))
        if (run.reason !== '') void decisions.commentInTime(run, run.reason)
      for (const run of ledger.inState('preparing')) refuse(run, cause).catch(() => {}) // it is kept until it is written
    },
  }
}

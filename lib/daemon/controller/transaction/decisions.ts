// What is decided of a run: by the rule of its strategy or by a failure, in the ledger first and told then. It never waits for
// a node.
import { setTimeout as delay } from 'node:timers/promises'
import type { ErrorCode } from '../../../errors/catalogue.ts'
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import { decide as decideBy, type ReportedNode } from '../../../job/decision.ts'
import { isBatch, type Run, runId, vmName } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { reachedAtOnce } from '../../steps.ts'
import type { Ledger, RunChange, RunRecord } from '../ledger/ledger.ts'
import type { Messenger } from '../messenger.ts'

export interface Cause {
  readonly code: string
  readonly reason: string
}

export interface Decisions {
  /**
   * The decision is in the ledger when this returns, and it throws if it cannot be. The promise resolves when the cause is in
   * AdminComment, or that was given up; it never rejects. Nothing happens to a run that is in none of the change's states.
   */
  decide(run: Run, change: RunChange, cause?: Cause): Promise<void>
  /** Decides by the run's strategy, if that can be done by now. */
  settle(record: RunRecord, options: { lateSeconds?: number; code: ErrorCode }): Promise<void>
  /** Resolves when the cause is in AdminComment, or that was given up. */
  commentInTime(run: Run, reason: string): Promise<void>
  /** The same of the one that is on its way. */
  causeTold(run: Run): Promise<void>
}

/** Two commands of a few tens of milliseconds, or seconds on a busy machine; a Slurm that does not answer must not hold up the end of a job. */
const commentMs = 5000

export const abort = { from: ['preparing'], to: 'aborted' } as const
const commit = { from: ['preparing'], to: 'committed' } as const

interface DecisionOptions {
  readonly ledger: Ledger
  readonly messenger: Pick<Messenger, 'pushVerdict' | 'comment'>
  /** Nobody else ends a batch that was given up. */
  readonly onBatchAborted: (run: Run) => void
  readonly log: Log
}

export function createDecisions(options: DecisionOptions): Decisions {
  const { ledger, messenger, log } = options
  /** Causes on their way to AdminComment, by run. */
  const causes = new Map<string, Promise<void>>()

  const commentInTime = (run: Run, reason: string): Promise<void> => {
    const name = runId(run)
    const bound = delay(commentMs, undefined, { ref: false })
    const told = Promise.race([messenger.comment(run, causeComment(reason)), bound]).finally(() => {
      if (causes.get(name) === told) causes.delete(name)
    })
    causes.set(name, told)
    return told
  }

  /** Slurm (22.05) takes a comment only while the job runs, and the news of a failure ends it. */
  const tell = async (run: RunRecord, cause?: Cause): Promise<void> => {
    if (cause !== undefined) await commentInTime(run, cause.reason)
    messenger.pushVerdict(run)
  }

  /** What fails here the reconciler repeats; the decision is in the ledger. */
  const removeAborted = (run: Run) => {
    try {
      options.onBatchAborted(run)
    } catch (error) {
      log.warn('batch.not-ended', { run: runId(run), text: toVmrmError(error).message })
    }
  }

  const decide: Decisions['decide'] = (run, change, cause) => {
    const { to } = change
    if (!ledger.move(run, change, cause)) return Promise.resolve()
    reachedAtOnce('verdict.decided', runId(run))
    log.info('run.decided', { run: runId(run), state: to, code: cause?.code, reason: cause?.reason })
    const record = ledger.find(run)
    if (record === undefined) return Promise.resolve()
    const told = tell(record, cause)
    if (to === 'aborted' && isBatch(run)) removeAborted(run)
    return told
  }

  const settle: Decisions['settle'] = (record, { lateSeconds, code }) => {
    const { plan } = record
    const nodes = reportedNodes(record, ledger)
    const decision = decideBy(plan?.strategy ?? 'all-or-nothing', nodes, lateSeconds)
    if (decision.kind === 'wait') {
      if (lateSeconds === undefined || plan !== undefined) return Promise.resolve()
      const reason = `after ${lateSeconds} s the VMs of the run were not ready`
      return decide(record, abort, { code, reason })
    }
    if (decision.kind === 'abort') return decide(record, abort, { code, reason: decision.reason })
    reachedAtOnce('verdict.recorded', runId(record))
    const [missing] = decision.missing
    if (missing === undefined) return decide(record, commit)
    recordMissing({ ledger, record, nodes, missing: decision.missing })
    const count = nodes.reduce((sum, { vms }) => sum + vms.length, 0)
    const reason = `${decision.missing.length} of ${count} VMs did not come up: ${missing.reason}`
    return decide(record, commit, { code: 'vm-start-failed', reason })
  }

  return { decide, settle, commentInTime, causeTold: (run) => causes.get(runId(run)) ?? Promise.resolve() }
}

/** Before the decision: whoever comes later belongs to those that are missing. */
function recordMissing(options: {
  ledger: Ledger
  record: RunRecord
  nodes: readonly ReportedNode[]
  missing: ReportedNode['missing']
}): void {
  for (const { node, vms, state } of options.nodes) {
    const names = new Set(vms.map(({ name }) => name))
    const missing = options.missing.filter(({ vm }) => names.has(vm))
    const [first] = missing
    if (first === undefined) continue
    const change = state === 'planned' ? { state: 'failed' as const, reason: first.reason } : { state }
    options.ledger.setShare(options.record, node, { ...change, missing })
  }
}

/** The lines below the first are the guest's or a tool's: they are in the job's own output. */
function causeComment(reason: string): string {
  return `vmrm: ${reason.split('\n')[0]}`
}

/** The plan's nodes, in its order, with what each has reported. */
function reportedNodes(record: RunRecord, ledger: Ledger): readonly ReportedNode[] {
  const shares = new Map(ledger.shares(record).map((share) => [share.node, share]))
  return (record.plan?.nodes ?? []).map(({ node, vms }) => {
    const { state = 'planned', reason = '', missing = [] } = shares.get(node) ?? {}
    return { node, state, reason, missing, vms: vms.map(({ index }) => ({ name: vmName(record, index) })) }
  })
}

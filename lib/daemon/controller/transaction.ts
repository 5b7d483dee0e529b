// A run's transaction on the controller: begin, shares, reports, verdict, end. It owns the order of things: a decision is
// in the ledger before anyone is told. It never waits for one node while it holds back another.
import { setTimeout as delay } from 'node:timers/promises'
import { catalogue, type ErrorCode, type ErrorFamily } from '../../errors/catalogue.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { decide as decideBy, type ReportedNode } from '../../job/decision.ts'
import { isBatch, type Run, runId, vmName } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import { reachedAtOnce } from '../steps.ts'
import { type Begin, createBegin } from './begin-transaction.ts'
import type { Ledger, MissingVm, RunChange, RunRecord } from './ledger/ledger.ts'
import type { Planner } from './planning/planner.ts'
import { missingOn, type NodeVerdict, verdictOf } from './verdict-of.ts'
import type { WaitingRoom } from './waiting-room.ts'

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

export interface Transactions extends Begin {
  /** What was decided, for this node. */
  verdict(run: Run, node?: string): NodeVerdict
  /** Resolves when the cause of what was decided is in AdminComment, or that was given up: no node may hear of it before. */
  causeTold(run: Run): Promise<void>
  /** The node's VMs are ready, but for those that are missing, which only best-effort allows. */
  prepared(run: Run, node: string, missing?: readonly MissingVm[]): void
  /** Resolves, as `lost` does, when the cause is in AdminComment: what the node does then may end the job. */
  failed(run: Run, node: string, cause: { code: string; reason: string }): Promise<void>
  lost(run: Run, cause: { node: string; vm: string; reason: string }): Promise<void>
  /** These nodes could not be told of a run whose job Slurm itself sends back to the queue. Resolves as `failed` does. */
  notExpected(run: Run, nodes: readonly string[]): Promise<void>
  /** The daemon of a node has gone and not come back: what was being prepared there cannot become whole. */
  nodeLost(node: string): void
  /** A node has confirmed that nothing of the run is left on it. */
  nodeEnded(run: Run, node: string, usage?: { peakMemoryBytes: number; cpuTimeNs: number }): void
  /** The job, up to this restart count, is over (EpilogSlurmctld or the reconciler). Safe to repeat. */
  end(run: Run): void
  /** Aborts what is past its deadline, and writes what could not be written before. */
  expire(): void
  /** After a start of the daemon: what was undecided is aborted, for no decision is on disk. */
  recover(): void
}

/** Two commands of a few tens of milliseconds, or seconds on a busy machine; a Slurm that does not answer must not hold up the end of a job. */
const commentMs = 5000

const abort = { from: ['preparing'], to: 'aborted' } as const
const commit = { from: ['preparing'], to: 'committed' } as const

export function createTransactions(options: {
  ledger: Ledger
  planner: Planner
  messenger: Messenger
  waitingRoom: Pick<WaitingRoom, 'enter' | 'leave'>
  /** Nobody else ends a batch that was given up. */
  onBatchAborted: (run: Run) => void
  log: Log
  prepareMs: number
  /** Rejects with the sentence the user reads when nothing can be leased now. */
  mayLease: () => Promise<void>
  now: () => number
}): Transactions {
  const { ledger, messenger, log, now } = options
  /** Causes on their way to AdminComment, by run. */
  const causes = new Map<string, Promise<void>>()
  /** Failures that could not be written, by run and node. Nobody tells of one twice, so each look at the deadlines tries again. */
  const unwritten = new Map<string, { run: Run; node: string; cause: { code: string; reason: string } }>()

  /**
   * The decision is in the ledger when this returns, and it throws if it cannot be: then a node that is prepared reports
   * again, and a failure is kept until it is written.
   * The promise resolves when the cause is in AdminComment, or that was given up; it never rejects.
   */
  const decide = (run: Run, change: RunChange, cause?: { code: string; reason: string }): Promise<void> => {
    const { to } = change
    if (!ledger.move(run, change, cause)) return Promise.resolve()
    reachedAtOnce('verdict.decided', runId(run))
    log.info('run.decided', { run: runId(run), state: to, code: cause?.code, reason: cause?.reason })
    const record = ledger.find(run)
    if (record === undefined) return Promise.resolve()
    const told = tell(record, cause)
    if (to === 'aborted' && isBatch(run)) options.onBatchAborted(run)
    return told
  }

  /** Slurm (22.05) takes a comment only while the job runs, and the news of a failure ends it. */
  const tell = async (run: RunRecord, cause?: { code: string; reason: string }): Promise<void> => {
    if (cause !== undefined) await commentInTime(run, cause.reason)
    messenger.pushVerdict(run)
  }

  const commentInTime = (run: Run, reason: string): Promise<void> => {
    const name = runId(run)
    const bound = delay(commentMs, undefined, { ref: false })
    const told = Promise.race([messenger.comment(run, causeComment(reason)), bound]).finally(() => {
      if (causes.get(name) === told) causes.delete(name)
    })
    causes.set(name, told)
    return told
  }

  /** Decides by the run's strategy, if that can be done by now. */
  const settle = (record: RunRecord, options: { lateSeconds?: number; code: ErrorCode }): Promise<void> => {
    const { plan } = record
    const nodes = reportedNodes(record, ledger)
    const { lateSeconds, code } = options
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
    // Before the decision: whoever comes later belongs to those that are missing.
    for (const { node, vms, state } of nodes) {
      const mine = decision.missing.filter(({ vm }) => vms.some(({ name }) => name === vm))
      const isOpen = state === 'planned'
      if (mine.length > 0) ledger.setShare(record, node, { state: isOpen ? 'failed' : state, missing: mine })
    }
    const count = nodes.reduce((sum, { vms }) => sum + vms.length, 0)
    const reason = `${decision.missing.length} of ${count} VMs did not come up: ${missing.reason}`
    return decide(record, commit, { code: 'vm-start-failed', reason })
  }

  const prepared = (run: Run, node: string, missing: readonly MissingVm[] = []) => {
    const share = ledger.share(run, node)
    if (share !== 'planned' && share !== 'prepared') return
    const record = ledger.find(run)
    if (record?.state !== 'preparing') return
    // Told again, it may be that the decision could not be written the first time.
    if (share === 'planned') ledger.setShare(run, node, { state: 'prepared', missing })
    if (record.plan?.strategy !== 'best-effort' && !ledger.areAll(run, 'prepared')) return
    void settle(record, { code: 'vm-start-failed' })
  }

  const failed = async (run: Run, node: string, cause: { code: string; reason: string }) => {
    try {
      await recordFailure(run, node, cause)
    } catch (error) {
      unwritten.set(`${runId(run)} ${node}`, { run, node, cause })
      throw error
    }
  }

  const recordFailure = async (run: Run, node: string, cause: { code: string; reason: string }) => {
    const record = ledger.find(run)
    // Nothing is left there, and that it was told before is no news.
    if (ledger.share(run, node) === 'ended') return
    ledger.setShare(run, node, { state: 'failed', reason: cause.reason })
    // PrologSlurmctld was killed before it could tell of the run: the user still has to read why it failed.
    if (record === undefined) return commentInTime(run, cause.reason)
    if (record.state !== 'preparing') return
    const isBestEffort = record.plan?.strategy === 'best-effort'
    const decided = isBestEffort ? settle(record, { code: 'vm-start-failed' }) : decide(run, abort, cause)
    if (familyOf(cause.code) === 'node') {
      // A job that goes on without the node needs no other one.
      if (ledger.find(run)?.state === 'aborted') messenger.handleNodeFault(run, node, cause)
      else messenger.drainNode(run, node, cause)
    }
    await decided
  }

  const notExpected = async (run: Run, nodes: readonly string[]) => {
    const reason = `the vmrmd of node ${nodes.join(', ')} does not answer`
    const decided = decide(run, abort, { code: 'node-daemon-down', reason })
    for (const node of nodes) {
      messenger.drainNode(run, node, { code: 'node-daemon-down', reason: `the vmrmd of node ${node} does not answer` })
    }
    await decided
  }

  const nodeLost = (node: string) => {
    const reason = `the vmrmd of node ${node} has gone and not come back`
    for (const run of ledger.inState('preparing')) {
      const share = ledger.share(run, node)
      if (share === 'planned' || share === 'prepared')
        failed(run, node, { code: 'node-daemon-down', reason }).catch(logUnwritten)
    }
  }

  const logUnwritten = (error: unknown) => log.warn('failure.not-written', { text: toVmrmError(error).message })

  const failAgain = () => {
    for (const [key, { run, node, cause }] of [...unwritten]) {
      unwritten.delete(key)
      if (ledger.find(run)?.state === 'preparing') failed(run, node, cause).catch(logUnwritten)
    }
  }

  const nodeEnded = (run: Run, node: string, usage?: { peakMemoryBytes: number; cpuTimeNs: number }) => {
    ledger.setShare(run, node, { state: 'ended', ...usage })
    reachedAtOnce('end.confirmed', runId(run))
    finishIfDone(run)
  }

  const finishIfDone = (run: Run) => {
    const record = ledger.find(run)
    if (record?.state !== 'ending') return
    // A run that was refused has no share anywhere.
    if (ledger.hasShares(run) && !ledger.areAll(run, 'ended')) return
    ledger.finish(run, now())
    reachedAtOnce('end.finished', runId(run))
    log.info('run.ended', { run: runId(run), user: record.user, ms: now() - record.beganMs })
  }

  const end = (run: Run) => {
    for (const record of ledger.ofJob(run.job)) {
      if (record.restart > run.restart) continue
      if (ledger.move(record, { from: ['preparing', 'committed', 'aborted', 'lost'], to: 'ending' })) {
        reachedAtOnce('end.recorded', runId(record))
        log.info('run.ending', { run: runId(record) })
        // Slurm lets a node's Prolog end before its Epilog begins, and nobody else tells it that the VMs are not wanted any more.
        if (record.state === 'preparing') messenger.pushVerdict({ ...record, state: 'ending' })
      }
      finishIfDone(record)
    }
  }

  /** The rest of a batch goes on: all or nothing is said of its creation. */
  const lostOfBatch = (run: RunRecord, cause: { node: string; vm: string }, reason: string) => {
    const missing = missingOn(ledger, run, cause.node)
    ledger.setShare(run, cause.node, { state: 'prepared', missing: [...missing, { vm: cause.vm, reason }] })
    ledger.move(run, { from: ['committed', 'lost'], to: 'lost' }, { code: 'vm-lost', reason })
    log.warn('batch.vm-lost', { run: runId(run), vm: cause.vm, reason })
  }

  const begun = createBegin({
    ...options,
    commentInTime,
    endOlder(run) {
      for (const older of ledger.ofJob(run.job)) if (older.restart < run.restart) end(older)
    },
    refuse: (run, cause) => decide(run, abort, cause),
  })

  return {
    ...begun,
    prepared,
    failed,
    notExpected,
    nodeLost,
    nodeEnded,
    end,
    verdict: (run, node) => verdictOf(ledger, run, node),
    causeTold: (run) => causes.get(runId(run)) ?? Promise.resolve(),
    async lost(run, cause) {
      // What the run is made without, or was lost before, is no news.
      if (missingOn(ledger, run, cause.node).some(({ vm }) => vm === cause.vm)) return
      const reason = `VM ${cause.vm} on node ${cause.node} is gone: ${cause.reason}`
      const record = ledger.find(run)
      const isEarly = record?.state === 'preparing'
      if (record !== undefined && isBatch(run) && (record.state === 'committed' || record.state === 'lost'))
        return lostOfBatch(record, cause, reason)
      const change = isEarly ? abort : ({ from: ['committed'], to: 'lost' } as const)
      await decide(run, change, { code: 'vm-lost', reason })
    },
    expire() {
      failAgain()
      for (const run of ledger.inState('preparing')) {
        if (now() < run.deadlineMs) continue
        const lateSeconds = Math.round((now() - run.beganMs) / 1000)
        void settle(run, { lateSeconds, code: 'vm-boot-timeout' })
      }
    },
    recover() {
      const cause = { code: 'internal', reason: "the controller's vmrmd was restarted before the VMs were ready" }
      // Its last node had confirmed, and nothing was done about that.
      for (const run of ledger.inState('ending')) finishIfDone(run)
      // Nobody knows whether the cause was told before the restart.
      for (const run of ledger.inState('aborted', 'lost')) if (run.reason !== '') void commentInTime(run, run.reason)
      for (const run of ledger.inState('preparing')) void decide(run, abort, cause)
    },
  }
}

function familyOf(code: string): ErrorFamily | undefined {
  return Object.hasOwn(catalogue, code) ? catalogue[code as ErrorCode].family : undefined
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

// The controller's ledger: which runs there are, what was decided of them, and what is leased to them.
// Decisions are on disk when a method returns; the ledger never talks to a node or to Slurm.
import type { RunPlan } from '../../../job/plan.ts'
import type { Run } from '../../../job/run.ts'
import type { WaitingJob } from '../waiting-room.ts'
import { createLeases, type Lease, type Leases } from './leases.ts'
import { type BatchLedger, type BatchRecord, openBatches } from './ledger-batches.ts'
import { nodeMethods, waitingMethods } from './ledger-nodes.ts'
import { runMethods } from './ledger-runs.ts'
import { openLedgerDatabase } from './ledger-schema.ts'
import { shareMethods } from './ledger-shares.ts'
import { type LedgerTrust, openTrust } from './ledger-trust.ts'

/** `preparing` until the verdict; `ending` until every node has confirmed that nothing is left. */
export type RunState = 'preparing' | 'committed' | 'aborted' | 'lost' | 'ending' | 'ended'

/** From one of these states to another. */
export interface RunChange {
  readonly from: readonly RunState[]
  readonly to: RunState
}

export interface MissingVm {
  readonly vm: string
  readonly reason: string
}

export type ShareState = 'planned' | 'prepared' | 'failed' | 'ended'

export interface RunRecord extends Run {
  readonly state: RunState
  readonly reason: string
  readonly code: string
  readonly uid: number
  readonly gid: number
  readonly user: string
  readonly account: string
  readonly image: string
  readonly script: 'guest' | 'host'
  readonly plan: RunPlan | undefined
  readonly deadlineMs: number
  readonly beganMs: number
  readonly endedMs: number | undefined
}

export interface ShareRecord {
  readonly node: string
  readonly state: ShareState
  readonly reason: string
  /** VMs that did not come up on a node that is prepared all the same. */
  readonly missing: readonly MissingVm[]
  readonly peakMemoryBytes: number | undefined
  readonly cpuTimeNs: number | undefined
}

export type NewRun = Omit<RunRecord, 'state' | 'reason' | 'code' | 'plan' | 'endedMs'>

/** A run as its nodes tell of it. */
export interface AdoptedRun extends NewRun {
  /** Of a batch: its number and name. */
  readonly batch?: BatchRecord | undefined
  readonly state: Exclude<RunState, 'ended'>
  readonly reason: string
  readonly plan: RunPlan
  readonly leases: readonly Lease[]
  readonly shares: readonly (Pick<ShareRecord, 'node' | 'state'> & Partial<Pick<ShareRecord, 'missing'>>)[]
}

export interface Ledger extends BatchLedger {
  /** Adds a run in state `preparing` with nothing leased. */
  add(run: NewRun): void
  /** Makes the plan and its leases durable together; `plan` is called with the leases inside the transaction. */
  setPlan(run: Run, plan: (leases: Leases) => RunPlan): RunPlan
  /**
   * Takes up a run that nodes hold and that this ledger does not know, or knows an older state of, with its leases. Returns
   * those that another run had here, which are this run's now: what a node holds is the truth.
   */
  adopt(run: AdoptedRun): readonly Lease[]
  find(run: Run): RunRecord | undefined
  /** Runs in these states, oldest first. */
  inState(...states: RunState[]): readonly RunRecord[]
  /** Runs of one user or of everybody: those that are not ended first, then the newest. */
  recent(limit: number, owner: number | 'everybody'): readonly RunRecord[]
  ofJob(job: number): readonly RunRecord[]
  /** False if the run was in no state of `from`, and then nothing changed. */
  move(run: Run, change: RunChange, cause?: { code: string; reason: string }): boolean
  shares(run: Run): readonly ShareRecord[]
  /** The state of one node's; undefined where the run has none there. */
  share(run: Run, node: string): ShareState | undefined
  hasShares(run: Run): boolean
  /** VMs of all nodes that the run is made without, or that a batch has lost since. Each node that is told a decision asks. */
  missing(run: Run): readonly (MissingVm & { readonly node: string })[]
  /** Whether the run has shares and all are in this state. Each node that reports asks. */
  areAll(run: Run, state: ShareState): boolean
  /** Whether one of them is. */
  isAny(run: Run, state: ShareState): boolean
  /** What the run used on the nodes that have told; undefined before the first has. */
  usage(run: Run): { peakMemoryBytes: number; cpuTimeNs: number } | undefined
  /**
   * What nodes report is no decision: a power loss may take the last of it back, and then they are asked again. A thousand
   * syncs of the disk would hold up the decision itself.
   */
  setShare(run: Run, node: string, share: Partial<ShareRecord> & { state: ShareState }): void
  /** One VM of a batch is gone: that, and that the batch has lost one, are durable together. The run keeps the first reason. False if the batch is not made, or over. */
  loseVm(run: Run, node: string, lost: MissingVm): boolean
  /** Ends a run: its leases are free again. */
  finish(run: Run, atMs: number): void
  forgetEndedBefore(ms: number): void
  rememberNode(node: string, address: string, atMs: number): void
  nodeAddress(node: string): string | undefined
  /** Those that have said hello, but for those that are gone. */
  knownNodes(): readonly string[]
  /** Whether vmrm itself has drained the node. */
  isDrained(node: string): boolean
  setDrained(node: string, drained: 'drained' | 'not-drained'): void
  /** An administrator's word that a node holds nothing and will not come back; its next hello takes it back. */
  setGone(node: string): void
  goneNodes(): ReadonlySet<string>
  leaseCount(): number
  /** See Leases. */
  hasFree: Leases['hasFree']
  releases(): number
  /** Adds a job to those that wait for leases, or changes its entry; it keeps its place. */
  wait(job: WaitingJob, atMs: number): void
  leaveWaiting(job: number): void
  /** In the order of their coming. */
  waiting(): readonly WaitingJob[]
  readonly trust: Pick<LedgerTrust, 'isTrusted' | 'trust' | 'doubt'>
  close(): void
}

export function openLedger(path: string, now: () => number = Date.now): Ledger {
  const database = openLedgerDatabase(path)
  const leases = createLeases(database)
  const trust = openTrust(database, path)
  const batches = openBatches(database)
  /** Whatever the ledger does not know of may have numbers that it would give. */
  const doubt = () => {
    batches.passOver(now())
    trust.doubt()
  }
  return {
    ...runMethods(database, leases, trust),
    ...shareMethods(database),
    ...nodeMethods(database),
    trust: { ...trust, doubt },
    ...waitingMethods(database),
    ...batches,
    leaseCount: () => leases.count(),
    hasFree: (pool, count) => leases.hasFree(pool, count),
    releases: () => leases.releases(),
    close() {
      trust.close()
      database.close()
    },
  }
}

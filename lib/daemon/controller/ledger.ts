// The controller's ledger: which runs there are, what was decided of them, and what is leased to them.
// Decisions are on disk when a method returns; the ledger never talks to a node or to Slurm.
import type { DatabaseSync } from 'node:sqlite'
import type { RunPlan } from '../../job/plan.ts'
import type { Run } from '../../job/run.ts'
import { createLeases, type Lease, type Leases } from './leases.ts'
import { type BatchLedger, type BatchRecord, openBatches } from './ledger-batches.ts'
import { inTransaction, openLedgerDatabase, withoutSync } from './ledger-schema.ts'
import { type LedgerTrust, openTrust } from './ledger-trust.ts'
import { packPlan, unpackPlan } from './plan-text.ts'
import type { WaitingJob } from './waiting-room.ts'

/** `preparing` until the verdict; `ending` until every node has confirmed that nothing is left. */
export type RunState = 'preparing' | 'committed' | 'aborted' | 'lost' | 'ending' | 'ended'
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
  /** Moves a run from one of `from` to `to`; false if it was in another state, and then nothing changed. */
  move(run: Run, from: readonly RunState[], to: RunState, cause?: { code: string; reason: string }): boolean
  shares(run: Run): readonly ShareRecord[]
  /** The state of one node's; undefined where the run has none there. */
  share(run: Run, node: string): ShareState | undefined
  hasShares(run: Run): boolean
  /** Whether the run has shares and all are in this state. Each node that reports asks. */
  areAll(run: Run, state: ShareState): boolean
  /** What the run used on the nodes that have told; undefined before the first has. */
  usage(run: Run): { peakMemoryBytes: number; cpuTimeNs: number } | undefined
  /**
   * What nodes report is no decision: a power loss may take the last of it back, and then they are asked again. A thousand
   * syncs of the disk would hold up the decision itself.
   */
  setShare(run: Run, node: string, share: Partial<ShareRecord> & { state: ShareState }): void
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

export function openLedger(path: string): Ledger {
  const database = openLedgerDatabase(path)
  const leases = createLeases(database)
  const trust = openTrust(database, path)
  return {
    ...runMethods(database, leases, trust),
    ...shareMethods(database),
    ...nodeMethods(database),
    trust,
    ...waitingMethods(database),
    ...openBatches(database),
    leaseCount: () => leases.count(),
    hasFree: (pool, count) => leases.hasFree(pool, count),
    releases: () => leases.releases(),
    close() {
      trust.close()
      database.close()
    },
  }
}

function runMethods(database: DatabaseSync, leases: Leases, trust: LedgerTrust) {
  const insert = database.prepare(
    `INSERT INTO runs (job, restart, state, uid, gid, user, account, image, script, deadline_ms, began_ms)
     VALUES (?, ?, 'preparing', ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const setPlan = database.prepare('UPDATE runs SET plan = ? WHERE job = ? AND restart = ?')
  const insertShare = database.prepare(
    "INSERT OR REPLACE INTO shares (job, restart, node, state) VALUES (?, ?, ?, 'planned')",
  )
  const find = database.prepare('SELECT * FROM runs WHERE job = ? AND restart = ?')
  const ofJob = database.prepare('SELECT * FROM runs WHERE job = ? ORDER BY restart')
  const recent = database.prepare(
    `SELECT * FROM runs WHERE uid = coalesce(?, uid) ORDER BY state = 'ended', began_ms DESC, job DESC LIMIT ?`,
  )
  const inState = database.prepare(
    'SELECT * FROM runs WHERE state IN (SELECT value FROM json_each(?)) ORDER BY began_ms',
  )
  const move = database.prepare(
    `UPDATE runs SET state = ?, code = CASE WHEN ? = '' THEN code ELSE ? END, reason = CASE WHEN ? = '' THEN reason ELSE ? END
     WHERE job = ? AND restart = ? AND state IN (SELECT value FROM json_each(?))`,
  )
  const finish = database.prepare("UPDATE runs SET state = 'ended', ended_ms = ? WHERE job = ? AND restart = ?")
  const forgetShares = database.prepare(
    "DELETE FROM shares WHERE (job, restart) IN (SELECT job, restart FROM runs WHERE state = 'ended' AND ended_ms < ?)",
  )
  const forgetRuns = database.prepare("DELETE FROM runs WHERE state = 'ended' AND ended_ms < ?")
  const setState = database.prepare('UPDATE runs SET state = ?, reason = ? WHERE job = ? AND restart = ?')
  const setShareState = database.prepare(
    'UPDATE shares SET state = ?, missing = ? WHERE job = ? AND restart = ? AND node = ?',
  )
  const insertRun = (run: NewRun) => {
    const { job, restart, uid, gid, user, account, image, script, deadlineMs, beganMs } = run
    insert.run(job, restart, uid, gid, user, account, image, script, deadlineMs, beganMs)
  }
  const changeLeases = <T>(work: () => T): T => {
    try {
      const result = inTransaction(database, () => {
        trust.count()
        return work()
      })
      trust.counted()
      return result
    } catch (error) {
      leases.reload()
      throw error
    }
  }
  return {
    add: insertRun,
    setPlan(run: Run, make: (leases: Leases) => RunPlan): RunPlan {
      return changeLeases(() => {
        const plan = make(leases)
        setPlan.run(packPlan(plan), run.job, run.restart)
        for (const { node } of plan.nodes) insertShare.run(run.job, run.restart, node)
        return plan
      })
    },
    adopt(run: AdoptedRun): readonly Lease[] {
      const { job, restart, state, reason, plan, shares, leases: held } = run
      return changeLeases(() => {
        if (find.get(job, restart) === undefined) insertRun(run)
        setState.run(state, reason, job, restart)
        setPlan.run(packPlan(plan), job, restart)
        for (const { node } of shares) insertShare.run(job, restart, node)
        for (const { node, state: shareState, missing = [] } of shares)
          setShareState.run(shareState, JSON.stringify(missing), job, restart, node)
        return leases.hold(held, run)
      })
    },
    find: (run: Run) => toRun(find.get(run.job, run.restart)),
    inState: (...states: RunState[]) => toRuns(inState.all(JSON.stringify(states))),
    recent: (limit: number, owner: number | 'everybody') =>
      toRuns(recent.all(owner === 'everybody' ? null : owner, limit)),
    ofJob: (job: number) => toRuns(ofJob.all(job)),
    move(run: Run, from: readonly RunState[], to: RunState, cause = { code: '', reason: '' }): boolean {
      const { code, reason } = cause
      return move.run(to, code, code, reason, reason, run.job, run.restart, JSON.stringify(from)).changes === 1
    },
    finish(run: Run, atMs: number) {
      inTransaction(database, () => {
        leases.release(run)
        finish.run(atMs, run.job, run.restart)
      })
    },
    forgetEndedBefore(ms: number) {
      inTransaction(database, () => {
        forgetShares.run(ms)
        forgetRuns.run(ms)
      })
    },
  }
}

function shareMethods(database: DatabaseSync) {
  const select = database.prepare('SELECT * FROM shares WHERE job = ? AND restart = ? ORDER BY node')
  const usage = database.prepare(
    'SELECT max(peak_memory_bytes) AS peak, sum(cpu_time_ns) AS cpu FROM shares WHERE job = ? AND restart = ?',
  )
  const stateOf = database.prepare('SELECT state FROM shares WHERE job = ? AND restart = ? AND node = ?')
  const any = database.prepare('SELECT 1 FROM shares WHERE job = ? AND restart = ? LIMIT 1')
  // Two ranges of the index: with <> it would read all shares that are in the state already.
  const others = database.prepare(
    `SELECT 1 WHERE EXISTS (SELECT 1 FROM shares WHERE job = ?1 AND restart = ?2 AND state < ?3)
       OR EXISTS (SELECT 1 FROM shares WHERE job = ?1 AND restart = ?2 AND state > ?3)`,
  )
  const update = database.prepare(
    `UPDATE shares SET state = ?, reason = coalesce(?, reason), missing = coalesce(?, missing), peak_memory_bytes = coalesce(?, peak_memory_bytes),
       cpu_time_ns = coalesce(?, cpu_time_ns) WHERE job = ? AND restart = ? AND node = ?`,
  )
  return {
    shares: (run: Run): readonly ShareRecord[] => select.all(run.job, run.restart).map(toShare),
    share: (run: Run, node: string) => stateOf.get(run.job, run.restart, node)?.state as ShareState | undefined,
    hasShares: (run: Run) => any.get(run.job, run.restart) !== undefined,
    areAll: (run: Run, state: ShareState) =>
      others.get(run.job, run.restart, state) === undefined && any.get(run.job, run.restart) !== undefined,
    usage(run: Run) {
      const row = usage.get(run.job, run.restart)
      if (row === undefined || row.peak === null) return undefined
      return { peakMemoryBytes: Number(row.peak), cpuTimeNs: Number(row.cpu ?? 0) }
    },
    /**
     * What nodes report is no decision: a power loss may take the last of it back, and then they are asked again. A thousand
     * syncs of the disk would hold up the decision itself.
     */
    setShare(run: Run, node: string, share: Partial<ShareRecord> & { state: ShareState }) {
      const { state, reason = null, peakMemoryBytes = null, cpuTimeNs = null } = share
      const missing = share.missing === undefined ? null : JSON.stringify(share.missing)
      withoutSync(database, () =>
        update.run(state, reason, missing, peakMemoryBytes, cpuTimeNs, run.job, run.restart, node),
      )
    },
  }
}

function nodeMethods(database: DatabaseSync) {
  const remember = database.prepare(
    `INSERT INTO nodes (node, address, seen_ms) VALUES (?, ?, ?)
     ON CONFLICT (node) DO UPDATE SET address = excluded.address, seen_ms = excluded.seen_ms`,
  )
  const drained = database.prepare('SELECT drained FROM nodes WHERE node = ?')
  const setDrained = database.prepare('UPDATE nodes SET drained = ? WHERE node = ?')
  const address = database.prepare('SELECT address FROM nodes WHERE node = ?')
  const known = database.prepare('SELECT node FROM nodes WHERE node NOT IN (SELECT node FROM gone_nodes)')
  const setGone = database.prepare('INSERT OR IGNORE INTO gone_nodes (node) VALUES (?)')
  const notGone = database.prepare('DELETE FROM gone_nodes WHERE node = ?')
  const goneNodes = database.prepare('SELECT node FROM gone_nodes')
  return {
    rememberNode(node: string, at: string, atMs: number) {
      withoutSync(database, () => {
        remember.run(node, at, atMs)
        notGone.run(node)
      })
    },
    nodeAddress(node: string): string | undefined {
      const row = address.get(node)
      return row === undefined ? undefined : String(row.address)
    },
    knownNodes: () => known.all().map((row) => String(row.node)),
    isDrained: (node: string) => drained.get(node)?.drained === 1,
    setDrained(node: string, state: 'drained' | 'not-drained') {
      setDrained.run(state === 'drained' ? 1 : 0, node)
    },
    setGone: (node: string) => void setGone.run(node),
    goneNodes: () => new Set(goneNodes.all().map((row) => String(row.node))),
  }
}

function waitingMethods(database: DatabaseSync) {
  const insert = database.prepare(
    `INSERT INTO waiting (job, selector, image, vms, state, since_ms) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (job) DO UPDATE SET image = excluded.image, vms = excluded.vms, state = excluded.state`,
  )
  const remove = database.prepare('DELETE FROM waiting WHERE job = ?')
  const select = database.prepare('SELECT * FROM waiting ORDER BY since_ms, job')
  return {
    wait: ({ job, selector, image, vms, state }: WaitingJob, atMs: number) =>
      void insert.run(job, selector, image, vms, state, atMs),
    leaveWaiting: (job: number) => void remove.run(job),
    waiting: (): readonly WaitingJob[] =>
      select.all().map((row) => ({
        job: Number(row.job),
        selector: String(row.selector),
        image: String(row.image),
        vms: Number(row.vms),
        state: row.state === 'released' ? 'released' : 'held',
      })),
  }
}

type Row = Record<string, unknown>

function toShare(row: Row): ShareRecord {
  return {
    node: String(row.node),
    state: row.state as ShareState,
    reason: String(row.reason),
    missing: JSON.parse(String(row.missing)) as MissingVm[],
    peakMemoryBytes: optionalNumber(row.peak_memory_bytes),
    cpuTimeNs: optionalNumber(row.cpu_time_ns),
  }
}

function toRuns(rows: readonly Row[]): readonly RunRecord[] {
  return rows.map(toRun).filter((run) => run !== undefined)
}

function toRun(row: Row | undefined): RunRecord | undefined {
  if (row === undefined) return undefined
  return {
    job: Number(row.job),
    restart: Number(row.restart),
    state: row.state as RunState,
    reason: String(row.reason),
    code: String(row.code),
    uid: Number(row.uid),
    gid: Number(row.gid),
    user: String(row.user),
    account: String(row.account),
    image: String(row.image),
    script: row.script === 'host' ? 'host' : 'guest',
    plan: row.plan === null ? undefined : unpackPlan(String(row.plan)),
    deadlineMs: Number(row.deadline_ms),
    beganMs: Number(row.began_ms),
    endedMs: optionalNumber(row.ended_ms),
  }
}

function optionalNumber(value: unknown): number | undefined {
  return value === null || value === undefined ? undefined : Number(value)
}

// What the nodes have reported of their shares of each run. None of it is a decision.
import type { DatabaseSync } from 'node:sqlite'
import type { Run } from '../../../job/run.ts'
import type { MissingVm, ShareRecord, ShareState } from './ledger.ts'
import { withoutSync } from './ledger-schema.ts'

export function shareMethods(database: DatabaseSync) {
  const select = database.prepare('SELECT * FROM shares WHERE job = ? AND restart = ? ORDER BY node')
  const usage = database.prepare(
    'SELECT max(peak_memory_bytes) AS peak, sum(cpu_time_ns) AS cpu FROM shares WHERE job = ? AND restart = ?',
  )
  const stateOf = database.prepare('SELECT state FROM shares WHERE job = ? AND restart = ? AND node = ?')
  const missing = database.prepare(
    "SELECT node, missing FROM shares WHERE job = ? AND restart = ? AND missing <> '[]' ORDER BY node",
  )
  const any = database.prepare('SELECT 1 FROM shares WHERE job = ? AND restart = ? LIMIT 1')
  const inState = database.prepare('SELECT 1 FROM shares WHERE job = ? AND restart = ? AND state = ? LIMIT 1')
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
    isAny: (run: Run, state: ShareState) => inState.get(run.job, run.restart, state) !== undefined,
    missing: (run: Run) =>
      missing
        .all(run.job, run.restart)
        .flatMap((row) => missingIn(row).map((each) => ({ node: String(row.node), ...each }))),
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

function toShare(row: Record<string, unknown>): ShareRecord {
  return {
    node: String(row.node),
    state: row.state as ShareState,
    reason: String(row.reason),
    missing: missingIn(row),
    peakMemoryBytes: optionalNumber(row.peak_memory_bytes),
    cpuTimeNs: optionalNumber(row.cpu_time_ns),
  }
}

function missingIn(row: Record<string, unknown>): readonly MissingVm[] {
  return JSON.parse(String(row.missing)) as MissingVm[]
}

function optionalNumber(value: unknown): number | undefined {
  return value === null || value === undefined ? undefined : Number(value)
}

// The runs of the ledger, with their plans and leases: what was decided of each.
import type { DatabaseSync } from 'node:sqlite'
import type { RunPlan } from '../../../job/plan.ts'
import type { Run } from '../../../job/run.ts'
import type { Lease, Leases } from './leases.ts'
import type { AdoptedRun, MissingVm, NewRun, RunChange, RunRecord, RunState } from './ledger.ts'
import { inTransaction } from './ledger-schema.ts'
import type { LedgerTrust } from './ledger-trust.ts'
import { packPlan, unpackPlan } from './plan-text.ts'

export function runMethods(database: DatabaseSync, leases: Leases, trust: LedgerTrust) {
  const insert = database.prepare(
    `INSERT INTO runs (job, restart, state, uid, gid, user, account, image, script, deadline_ms, began_ms)
     VALUES (?, ?, 'preparing', ?, ?, ?, ?, ?, ?, ?, ?)`,
  )
  const setPlan = database.prepare('UPDATE runs SET plan = ? WHERE job = ? AND restart = ?')
  const insertShare = database.prepare(
    'INSERT OR REPLACE INTO shares (job, restart, node, state, missing) VALUES (?, ?, ?, ?, ?)',
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
  const addMissing = database.prepare(
    "UPDATE shares SET missing = json_insert(missing, '$[#]', json(?)) WHERE job = ? AND restart = ? AND node = ?",
  )
  const insertRun = (run: NewRun) => {
    const { job, restart, uid, gid, user, account, image, script, deadlineMs, beganMs } = run
    insert.run(job, restart, uid, gid, user, account, image, script, deadlineMs, beganMs)
  }
  /** What was taken back is leased, or free, as before. */
  const orReload = <T>(work: () => T): T => {
    try {
      return work()
    } catch (error) {
      leases.reload()
      throw error
    }
  }
  const changeLeases = <T>(work: () => T): T =>
    orReload(() => {
      const result = inTransaction(database, () => {
        trust.count()
        return work()
      })
      trust.counted()
      return result
    })
  const moveRun = (run: Run, { from, to }: RunChange, { code, reason } = { code: '', reason: '' }): boolean =>
    move.run(to, code, code, reason, reason, run.job, run.restart, JSON.stringify(from)).changes === 1
  return {
    add: insertRun,
    setPlan(run: Run, make: (leases: Leases) => RunPlan): RunPlan {
      return changeLeases(() => {
        const plan = make(leases)
        setPlan.run(packPlan(plan), run.job, run.restart)
        for (const { node } of plan.nodes) insertShare.run(run.job, run.restart, node, 'planned', '[]')
        return plan
      })
    },
    adopt(run: AdoptedRun): readonly Lease[] {
      const { job, restart, state, reason, plan, shares, leases: held } = run
      return changeLeases(() => {
        if (find.get(job, restart) === undefined) insertRun(run)
        setState.run(state, reason, job, restart)
        setPlan.run(packPlan(plan), job, restart)
        for (const { node, state: shareState, missing = [] } of shares)
          insertShare.run(job, restart, node, shareState, JSON.stringify(missing))
        return leases.hold(held, run)
      })
    },
    find: (run: Run) => toRun(find.get(run.job, run.restart)),
    inState: (...states: RunState[]) => toRuns(inState.all(JSON.stringify(states))),
    recent: (limit: number, owner: number | 'everybody') =>
      toRuns(recent.all(owner === 'everybody' ? null : owner, limit)),
    ofJob: (job: number) => toRuns(ofJob.all(job)),
    move: moveRun,
    loseVm(run: Run, node: string, lost: MissingVm): boolean {
      return inTransaction(database, () => {
        const isFirst = moveRun(run, { from: ['committed'], to: 'lost' }, { code: 'vm-lost', reason: lost.reason })
        const isMade = isFirst || moveRun(run, { from: ['lost'], to: 'lost' })
        if (isMade) addMissing.run(JSON.stringify(lost), run.job, run.restart, node)
        return isMade
      })
    },
    finish(run: Run, atMs: number) {
      orReload(() =>
        inTransaction(database, () => {
          leases.release(run)
          finish.run(atMs, run.job, run.restart)
        }),
      )
    },
    forgetEndedBefore(ms: number) {
      inTransaction(database, () => {
        forgetShares.run(ms)
        forgetRuns.run(ms)
      })
    },
  }
}

type Row = Record<string, unknown>

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
    endedMs: row.ended_ms === null ? undefined : Number(row.ended_ms),
  }
}

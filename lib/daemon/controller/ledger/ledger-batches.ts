// The batches of the ledger: their numbers, which are never given twice, not even by the next ledger after a loss, and the names that their clients gave them. What
// becomes of a batch is its run's to say.
import type { DatabaseSync } from 'node:sqlite'
import { batchRun, originOf, type Run } from '../../../job/run.ts'
import { inTransaction } from './ledger-schema.ts'

export interface BatchRecord {
  readonly batch: number
  readonly name: string
  /** Of what was asked for, to know a repetition from another request of the same name. */
  readonly content: string
}

export interface BatchLedger {
  /** Gives the next number and adds its run, both or none. */
  addBatch(name: string, content: string, addRun: (run: Run) => void): BatchRecord
  /** Takes up a batch that nodes tell of, or its number alone: a name that another has by now is left to that one. */
  adoptBatch(batch: BatchRecord): void
  batchNamed(name: string): BatchRecord | undefined
  /** Undefined for a run that is none, and for one whose name is not known. */
  batchOf(run: Run): BatchRecord | undefined
  /** Whether this ledger has given the number, so that a batch which it does not know is over. Others may be of a ledger that was lost. */
  hasGiven(batch: number): boolean
  /** What is given from now on is above all that any ledger can have given by this time. */
  passOver(nowMs: number): void
}

/** A number for each second: batches do not come faster for long. 32 bits of them are 136 years. */
const numbersFromMs = Date.UTC(2026, 0, 1)

export function openBatches(database: DatabaseSync): BatchLedger {
  const insert = database.prepare('INSERT INTO batches (name, content) VALUES (?, ?)')
  const adopt = database.prepare('INSERT OR IGNORE INTO batches (number, name, content) VALUES (?, ?, ?)')
  const named = database.prepare('SELECT * FROM batches WHERE name = ?')
  const numbered = database.prepare('SELECT * FROM batches WHERE number = ?')
  const last = database.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'batches'")
  const setLast = database.prepare("UPDATE sqlite_sequence SET seq = ? WHERE name = 'batches'")
  const insertLast = database.prepare("INSERT INTO sqlite_sequence (name, seq) VALUES ('batches', ?)")
  const first = database.prepare("SELECT value FROM meta WHERE key = 'batches-above'")
  const setFirst = database.prepare("INSERT OR REPLACE INTO meta (key, value) VALUES ('batches-above', ?)")
  const lastGiven = () => Number(last.get()?.seq ?? 0)
  const goOnAbove = (batch: number) => {
    if (batch <= lastGiven()) return
    if (setLast.run(batch).changes === 0) insertLast.run(batch)
    setFirst.run(batch)
  }
  return {
    addBatch: (name, content, addRun) =>
      inTransaction(database, () => {
        const batch = Number(insert.run(name, content).lastInsertRowid)
        addRun(batchRun(batch))
        return { batch, name, content }
      }),
    adoptBatch: ({ batch, name, content }) =>
      inTransaction(database, () => {
        goOnAbove(batch)
        adopt.run(batch, name, content)
      }),
    batchNamed: (name) => toBatch(named.get(name)),
    batchOf(run) {
      const origin = originOf(run)
      return origin.kind === 'batch' ? toBatch(numbered.get(origin.batch)) : undefined
    },
    hasGiven: (batch) => batch > Number(first.get()?.value ?? 0) && batch <= lastGiven(),
    passOver: (nowMs) =>
      inTransaction(database, () => goOnAbove(Math.max(0, Math.ceil((nowMs - numbersFromMs) / 1000)))),
  }
}

function toBatch(row: Record<string, unknown> | undefined): BatchRecord | undefined {
  return row === undefined
    ? undefined
    : { batch: Number(row.number), name: String(row.name), content: String(row.content) }
}

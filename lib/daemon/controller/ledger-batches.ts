// The batches of the ledger: their numbers, which are never given twice, and the names that their clients gave them. What
// becomes of a batch is its run's to say.
import type { DatabaseSync } from 'node:sqlite'
import { batchRun, originOf, type Run } from '../../job/run.ts'
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
  /** Takes up a batch that nodes tell of. A name that another has by now is left to that one. */
  adoptBatch(batch: BatchRecord): void
  batchNamed(name: string): BatchRecord | undefined
  /** Undefined for a run that is none, and for one whose name is not known. */
  batchOf(run: Run): BatchRecord | undefined
  /** The last number that was given; 0 before the first. */
  lastBatch(): number
}

export function openBatches(database: DatabaseSync): BatchLedger {
  const insert = database.prepare('INSERT INTO batches (name, content) VALUES (?, ?)')
  const adopt = database.prepare('INSERT OR IGNORE INTO batches (number, name, content) VALUES (?, ?, ?)')
  const named = database.prepare('SELECT * FROM batches WHERE name = ?')
  const numbered = database.prepare('SELECT * FROM batches WHERE number = ?')
  const last = database.prepare("SELECT seq FROM sqlite_sequence WHERE name = 'batches'")
  return {
    addBatch: (name, content, addRun) =>
      inTransaction(database, () => {
        const batch = Number(insert.run(name, content).lastInsertRowid)
        addRun(batchRun(batch))
        return { batch, name, content }
      }),
    adoptBatch: ({ batch, name, content }) => void adopt.run(batch, name, content),
    batchNamed: (name) => toBatch(named.get(name)),
    batchOf(run) {
      const origin = originOf(run)
      return origin.kind === 'batch' ? toBatch(numbered.get(origin.batch)) : undefined
    },
    lastBatch: () => Number(last.get()?.seq ?? 0),
  }
}

function toBatch(row: Record<string, unknown> | undefined): BatchRecord | undefined {
  return row === undefined
    ? undefined
    : { batch: Number(row.number), name: String(row.name), content: String(row.content) }
}

// The tables of the ledger and how they are opened. The ledger is SQLite on the controller's local disk.
import { chmodSync, existsSync, renameSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'

/** Of the tables; a ledger with another is put aside like one that cannot be read. */
const version = 5

const schema = `
  CREATE TABLE IF NOT EXISTS runs (
    job INTEGER NOT NULL, restart INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '',
    uid INTEGER NOT NULL, gid INTEGER NOT NULL, user TEXT NOT NULL, account TEXT NOT NULL, image TEXT NOT NULL, script TEXT NOT NULL,
    plan TEXT, deadline_ms INTEGER NOT NULL, began_ms INTEGER NOT NULL, ended_ms INTEGER,
    PRIMARY KEY (job, restart)) STRICT;
  CREATE INDEX IF NOT EXISTS runs_by_state ON runs (state);
  CREATE TABLE IF NOT EXISTS shares (
    job INTEGER NOT NULL, restart INTEGER NOT NULL, node TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
    missing TEXT NOT NULL DEFAULT '[]', peak_memory_bytes INTEGER, cpu_time_ns INTEGER,
    PRIMARY KEY (job, restart, node)) STRICT;
  CREATE INDEX IF NOT EXISTS shares_by_state ON shares (job, restart, state);
  CREATE INDEX IF NOT EXISTS shares_with_missing ON shares (job, restart, node) WHERE missing <> '[]';
  CREATE TABLE IF NOT EXISTS leases (
    space TEXT NOT NULL, value TEXT NOT NULL, job INTEGER NOT NULL, restart INTEGER NOT NULL,
    PRIMARY KEY (space, value)) STRICT, WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS leases_by_run ON leases (job, restart);
  CREATE TABLE IF NOT EXISTS nodes (
    node TEXT PRIMARY KEY, address TEXT NOT NULL, seen_ms INTEGER NOT NULL, drained INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE IF NOT EXISTS gone_nodes (node TEXT PRIMARY KEY) STRICT;
  CREATE TABLE IF NOT EXISTS waiting (
    job INTEGER PRIMARY KEY, selector TEXT NOT NULL, image TEXT NOT NULL, vms INTEGER NOT NULL, state TEXT NOT NULL, since_ms INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, content TEXT NOT NULL) STRICT;
  -- A run's key has more than 32 bits if it is a batch's (lib/job/run.ts): its name is free again when it is forgotten.
  CREATE TRIGGER IF NOT EXISTS forget_batches AFTER DELETE ON runs WHEN OLD.job > 4294967295
    BEGIN DELETE FROM batches WHERE number = OLD.job - 4294967296; END;
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
  INSERT OR IGNORE INTO meta (key, value) VALUES ('serial', 0), ('trusted', 0);
  PRAGMA user_version = ${version};
`

/** Opens the ledger, making it if there is none; a commit is on disk when it returns. Only its owner may read it. */
export function openLedgerDatabase(path: string): DatabaseSync {
  if (path !== ':memory:' && existsSync(path) && !isSound(path)) putAside(path)
  const database = new DatabaseSync(path)
  if (path !== ':memory:') chmodSync(path, 0o600)
  database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;')
  database.exec(schema)
  return database
}

/** Whether this is a ledger of this version with nothing wrong in it. */
function isSound(path: string): boolean {
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path)
    const found = database.prepare('PRAGMA user_version').get()?.user_version
    return found === version && database.prepare('PRAGMA quick_check').get()?.quick_check === 'ok'
  } catch {
    return false
  } finally {
    database?.close()
  }
}

/** For people who want to know what was in it; nothing reads it again. */
function putAside(path: string): void {
  const suffix = `.unusable-${new Date().toISOString().replace(/[-:]|\.\d+/g, '')}`
  for (const part of ['', '-wal', '-shm'])
    if (existsSync(`${path}${part}`)) renameSync(`${path}${part}`, `${path}${suffix}${part}`)
}

/** For what may be lost with the machine's power: it is in the ledger, but on disk only with the next thing that must be. */
export function withoutSync(database: DatabaseSync, work: () => void): void {
  database.exec('PRAGMA synchronous = NORMAL')
  try {
    work()
  } finally {
    database.exec('PRAGMA synchronous = FULL')
  }
}

/** Runs `work` in one transaction: all of it is in the ledger afterwards, or none. */
export function inTransaction<T>(database: DatabaseSync, work: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = work()
    database.exec('COMMIT')
    return result
  } catch (error) {
    // SQLite has rolled back by itself after some failures, as of a full disk, and a second time would hide them.
    if (database.isTransaction) database.exec('ROLLBACK')
    throw error
  }
}

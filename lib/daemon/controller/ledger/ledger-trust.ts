// Whether the ledger can be trusted to know of every lease. A ledger that is new, or older than the leases that were given
// out since, cannot: then nothing may be leased before the nodes have told what they hold. It never decides when that is so.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'

export interface LedgerTrust {
  isTrusted(): boolean
  /** Every node has told, or is known to hold nothing. Durable when it returns. */
  trust(): void
  /** Something is leased that the ledger did not know. Durable when it returns. */
  doubt(): void
  /** Counts a change of the leases; call inside the transaction that makes it. */
  count(): void
  /** Call after that transaction. */
  counted(): void
  close(): void
}

/** `path` is the ledger's; beside it lies a file that is always at least as new, and is no part of a backup of the ledger. */
export function openTrust(database: DatabaseSync, path: string): LedgerTrust {
  const read = (key: string) => Number(database.prepare('SELECT value FROM meta WHERE key = ?').get(key)?.value ?? 0)
  const write = database.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)')
  const increase = database.prepare("UPDATE meta SET value = value + 1 WHERE key = 'serial'")
  let trusted = read('trusted') === 1
  const set = (to: boolean) => {
    trusted = to
    write.run('trusted', to ? 1 : 0)
  }
  const base = { isTrusted: () => trusted, doubt: () => set(false), count: () => void increase.run() }
  // A ledger in memory is a test's: nobody has ever leased anything from another.
  if (path === ':memory:') return { ...base, isTrusted: () => true, trust() {}, counted() {}, close() {} }

  const beside = `${path}.serial`
  if (trusted && !(serialIn(beside) <= read('serial'))) set(false)
  const file = openSync(beside, 'a+', 0o600)
  closeSync(file)
  const out = openSync(beside, 'r+')
  // Not synced: what it tells of is a file that was put in place of another, not a machine that lost its power.
  const counted = () => void writeSync(out, `${read('serial')}\n`.padEnd(24), 0)
  return {
    ...base,
    trust() {
      set(true)
      counted()
    },
    counted,
    close: () => closeSync(out),
  }
}

/** NaN where there is none. */
function serialIn(path: string): number {
  try {
    return Number.parseInt(readFileSync(path, 'utf8'), 10)
  } catch {
    return Number.NaN
  }
}

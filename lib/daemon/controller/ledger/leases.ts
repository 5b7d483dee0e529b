// Leases of hostnames, addresses, MACs and VNIs. What is leased is the value itself, in a space that all images share; the
// table's primary key keeps a value from being leased twice, however ranges overlap. A lease lives until its run's nodes
// have confirmed that nothing is left.
import type { DatabaseSync } from 'node:sqlite'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import type { Run } from '../../../job/run.ts'
import type { LeaseRange, LeaseSpace } from '../../../network/address.ts'
import { choosePieces } from './choose-pieces.ts'

export interface Pool extends LeaseRange {
  /** What the pool holds, for people: `hostnames tiny-[0001-9999]`. */
  readonly title: string
}

export interface Lease {
  readonly space: LeaseSpace
  readonly value: string
}

/** `never`: more are wanted than the whole range has. */
export class RangeFull extends VmrmError {
  readonly until: 'some-are-free' | 'never'

  constructor(text: string, until: 'some-are-free' | 'never') {
    // Waiting does not help a job that wants more than there are.
    super(
      'range-full',
      text,
      until === 'never' ? { hint: 'Ask for fewer VMs, or the administrators for a larger range.' } : {},
    )
    this.until = until
  }
}

export interface Leases {
  /**
   * Leases `count` members that follow each other where there are as many, going round the pool so that one rests as long as
   * possible before it comes again.
   * Call inside the ledger's transaction. Throws RangeFull with the pool's title and how many are free.
   */
  take(pool: Pool, count: number, run: Run): readonly string[]
  /** Leases what a run is known to have, whoever had it in this ledger; returns what was another's. */
  hold(leases: readonly Lease[], run: Run): readonly Lease[]
  release(run: Run): void
  count(): number
  /** Whether `take` would have that many. */
  hasFree(pool: LeaseRange, count: number): boolean
  /** Grows whenever a lease is released. */
  releases(): number
  /** Reads the table again: after a transaction that took leases was rolled back. */
  reload(): void
}

export function createLeases(database: DatabaseSync): Leases {
  const used = new Map<LeaseSpace, Set<string>>()
  const next = new Map<string, number>()
  let releases = 0
  const select = database.prepare('SELECT value FROM leases WHERE space = ?')
  const replace = database.prepare('INSERT OR REPLACE INTO leases (space, value, job, restart) VALUES (?, ?, ?, ?)')
  // One statement for all: sixteen thousand of them take half a second.
  const insertAll = database.prepare(
    'INSERT INTO leases (space, value, job, restart) SELECT ?, value, ?, ? FROM json_each(?)',
  )
  const holder = database.prepare('SELECT job, restart FROM leases WHERE space = ? AND value = ?')
  const ofRun = database.prepare('SELECT space, value FROM leases WHERE job = ? AND restart = ?')
  const remove = database.prepare('DELETE FROM leases WHERE job = ? AND restart = ?')
  const count = database.prepare('SELECT count(*) AS n FROM leases')

  const usedIn = (space: LeaseSpace): Set<string> => {
    const known = used.get(space) ?? new Set(select.all(space).map((row) => String(row.value)))
    used.set(space, known)
    return known
  }
  return {
    take(pool, wanted, run) {
      const taken = usedIn(pool.space)
      const range = `${pool.space} ${pool.size} ${pool.at(0)}`
      const pieces = choosePieces({
        ...{ size: pool.size, from: next.get(range) ?? 0, wanted },
        isFree: (index) => !taken.has(pool.at(index)),
      })
      const values = pieces.flatMap(({ first, length }) => Array.from({ length }, (_, at) => pool.at(first + at)))
      if (values.length < wanted) {
        const text = `${pool.title}: ${wanted} wanted, ${values.length} of ${pool.size} free`
        throw new RangeFull(text, wanted > pool.size ? 'never' : 'some-are-free')
      }
      insertAll.run(pool.space, run.job, run.restart, JSON.stringify(values))
      for (const value of values) taken.add(value)
      const last = pieces.at(-1)
      if (last !== undefined) next.set(range, (last.first + last.length) % pool.size)
      return values
    },
    hold(leases, run) {
      const others: Lease[] = []
      for (const lease of leases) {
        const { space, value } = lease
        const row = holder.get(space, value)
        if (row !== undefined && (row.job !== run.job || row.restart !== run.restart)) others.push(lease)
        replace.run(space, value, run.job, run.restart)
        usedIn(space).add(value)
      }
      return others
    },
    hasFree(pool, wanted) {
      const taken = usedIn(pool.space)
      let free = 0
      for (let index = 0; index < pool.size && free < wanted; index += 1) if (!taken.has(pool.at(index))) free += 1
      return free >= wanted
    },
    releases: () => releases,
    release(run) {
      releases += 1
      for (const row of ofRun.all(run.job, run.restart)) used.get(row.space as LeaseSpace)?.delete(String(row.value))
      remove.run(run.job, run.restart)
    },
    count: () => Number(count.get()?.n),
    reload: () => used.clear(),
  }
}

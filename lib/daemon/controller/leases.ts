// Leases of numbers from pools: hostnames, addresses, MACs and VNIs are all numbers of a pool. The table's primary key
// keeps a number from being leased twice; a lease lives until its run's nodes have confirmed that nothing is left.
import type { DatabaseSync } from 'node:sqlite'
import { VmrmError } from '../../errors/vmrm-error.ts'
import type { Run } from '../../job/run.ts'

export interface Pool {
  readonly name: string
  /** Numbers 0 to size - 1 can be leased. */
  readonly size: number
  /** What the pool holds, for people: `hostnames tiny-[0001-9999]`. */
  readonly title: string
}

export interface Leases {
  /**
   * Leases `count` numbers, going round the pool so that a number rests as long as possible before it comes again.
   * Call inside the ledger's transaction. Throws `range-full` with the pool's title and how many are free.
   */
  take(pool: Pool, count: number, run: Run): readonly number[]
  release(run: Run): void
  count(): number
  /** Reads the table again: after a transaction that took leases was rolled back. */
  reload(): void
}

export function createLeases(database: DatabaseSync): Leases {
  const used = new Map<string, Set<number>>()
  const next = new Map<string, number>()
  const select = database.prepare('SELECT number FROM leases WHERE pool = ?')
  const insert = database.prepare('INSERT INTO leases (pool, number, job, restart) VALUES (?, ?, ?, ?)')
  const ofRun = database.prepare('SELECT pool, number FROM leases WHERE job = ? AND restart = ?')
  const remove = database.prepare('DELETE FROM leases WHERE job = ? AND restart = ?')
  const count = database.prepare('SELECT count(*) AS n FROM leases')

  const usedOf = (pool: string): Set<number> => {
    const known = used.get(pool) ?? new Set(select.all(pool).map((row) => Number(row.number)))
    used.set(pool, known)
    return known
  }
  return {
    take(pool, wanted, run) {
      const taken = usedOf(pool.name)
      const free = pool.size - taken.size
      if (free < wanted) {
        const text = `${pool.title}: ${wanted} wanted, ${Math.max(0, free)} of ${pool.size} free`
        // Waiting does not help a job that wants more than there are.
        const hint = 'Ask for fewer VMs, or the administrators for a larger range.'
        throw new VmrmError('range-full', text, wanted > pool.size ? { hint } : {})
      }
      const numbers: number[] = []
      let number = next.get(pool.name) ?? 0
      while (numbers.length < wanted) {
        if (!taken.has(number)) numbers.push(number)
        number = (number + 1) % pool.size
      }
      for (const leased of numbers) insert.run(pool.name, leased, run.job, run.restart)
      for (const leased of numbers) taken.add(leased)
      next.set(pool.name, number)
      return numbers
    },
    release(run) {
      for (const row of ofRun.all(run.job, run.restart)) used.get(String(row.pool))?.delete(Number(row.number))
      remove.run(run.job, run.restart)
    },
    count: () => Number(count.get()?.n),
    reload: () => used.clear(),
  }
}

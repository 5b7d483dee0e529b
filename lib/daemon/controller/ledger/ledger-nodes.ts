// The nodes that the ledger has heard of, and the jobs that wait for room: what is no run's.
import type { DatabaseSync } from 'node:sqlite'
import type { WaitingJob } from '../waiting-room.ts'
import { withoutSync } from './ledger-schema.ts'

export function nodeMethods(database: DatabaseSync) {
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

export function waitingMethods(database: DatabaseSync) {
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

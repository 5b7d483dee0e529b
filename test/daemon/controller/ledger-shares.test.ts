// What the ledger reads for one report of a node: entries of an index, however many shares the run has and whatever they say.
import type { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import { openLedgerDatabase } from '../../../lib/daemon/controller/ledger/ledger-schema.ts'
import { shareMethods } from '../../../lib/daemon/controller/ledger/ledger-shares.ts'

const run = { job: 7, restart: 0 }
const of = 'job=? AND restart=?'

/** A database that notes what was executed of the statements prepared with it. */
function noting(database: DatabaseSync, executed: string[]): DatabaseSync {
  const prepare = (sql: string) =>
    new Proxy(database.prepare(sql), {
      get: (statement, name: 'get' | 'all' | 'run') => {
        executed.push(sql)
        return statement[name].bind(statement)
      },
    })
  return new Proxy(database, {
    get: (target, name: keyof DatabaseSync) =>
      name === 'prepare' ? prepare : typeof target[name] === 'function' ? target[name].bind(target) : target[name],
  })
}

t.test('no statement for a report reads more the more have come', (t) => {
  const database = openLedgerDatabase(':memory:')
  const executed: string[] = []
  const shares = shareMethods(noting(database, executed))
  const readsOf = (work: () => unknown): readonly string[] => {
    executed.length = 0
    work()
    return executed.flatMap((sql) =>
      database
        .prepare(`EXPLAIN QUERY PLAN ${sql}`)
        .all()
        .map(({ detail }) => String(detail))
        .filter((detail) => /^(SEARCH|SCAN) (?!CONSTANT ROW)|TEMP B-TREE/.test(detail))
        .map((detail) => (/ LIMIT 1$/.test(sql) ? `${detail}, the first` : detail)),
    )
  }
  const byState = `SEARCH shares USING COVERING INDEX shares_by_state (${of} AND state`
  const byKey = 'SEARCH shares USING '
  t.strictSame(
    readsOf(() => shares.isAny(run, 'planned')),
    [`${byState}=?), the first`],
  )
  t.strictSame(
    readsOf(() => shares.areAll(run, 'prepared')),
    [`${byState}<?)`, `${byState}>?)`, `SEARCH shares USING COVERING INDEX shares_by_state (${of}), the first`],
    'of another state, which EXISTS ends with the first of; then whether there is anybody at all',
  )
  for (const [name, work] of [
    ['share', () => shares.share(run, 'n1')],
    ['setShare', () => shares.setShare(run, 'n1', { state: 'prepared' })],
  ] as const) {
    const [read, ...more] = readsOf(work)
    t.ok(read?.startsWith(byKey) && read.endsWith(`(${of} AND node=?)`), `${name}: ${read}`)
    t.strictSame(more, [], name)
  }
  t.strictSame(
    readsOf(() => shares.missing(run)),
    [`SEARCH shares USING INDEX shares_with_missing (${of})`],
    'only nodes that have said what is missing',
  )
  t.ok(
    readsOf(() => shares.shares(run)).every((read) => !read.startsWith('SCAN')),
    'and all of a run are found without those of others',
  )
  database.close()
  t.end()
})

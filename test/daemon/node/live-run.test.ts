import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import type { Journal, JournalEntry } from '../../../lib/daemon/node/runs/journal.ts'
import { LiveRun } from '../../../lib/daemon/node/runs/live-run.ts'

const entry: JournalEntry = {
  version: 1,
  ...{ job: 7, restart: 0, uid: 2001, gid: 2001, user: 'alice', script: 'guest', qemuUid: 600_000 },
  state: 'prepared',
  reason: '',
  beganMs: 0,
}

/** A journal whose writes end when they are told to. */
function setUp() {
  const written: string[] = []
  const underWay: PromiseWithResolvers<void>[] = []
  const journal = {
    async write({ state }: JournalEntry) {
      const write = Promise.withResolvers<void>()
      underWay.push(write)
      await write.promise
      written.push(state)
    },
  } as Journal
  return { run: new LiveRun(entry, journal), written, underWay }
}

const full = Object.assign(new Error('no space left'), { code: 'ENOSPC' })

t.test('nobody hears of a decision before it is on disk', async (t) => {
  const { run, underWay } = setUp()
  const recorded = run.record({ state: 'committed' })
  let heard = ''
  const waiting = run.decided(AbortSignal.timeout(10_000)).then(({ state }) => {
    heard = state
  })
  await turn()
  t.equal(heard, '')
  underWay[0]?.resolve()
  await Promise.all([recorded, waiting])
  t.equal(heard, 'committed')
})

t.test('changes that meet are written one after the other, the last one last', async (t) => {
  const { run, written, underWay } = setUp()
  const changes = [run.record({ state: 'committed' }), run.recordEnd({ state: 'removing' })]
  await turn()
  t.equal(underWay.length, 1)
  underWay[0]?.resolve()
  await turn()
  underWay[1]?.resolve()
  await Promise.all(changes)
  t.same(written, ['committed', 'removing'])
})

t.test(
  'what cannot be written has not happened and may be tried again; but an end is one on a full disk, too',
  async (t) => {
    const { run, underWay } = setUp()
    const first = run.record({ state: 'committed' })
    await turn()
    underWay[0]?.reject(full)
    await t.rejects(first, { code: 'ENOSPC' })
    t.equal(run.entry.state, 'prepared')
    const end = run.recordEnd({ state: 'lost', reason: 'gone' })
    await turn()
    underWay[1]?.reject(full)
    await end
    t.match(await run.decided(AbortSignal.timeout(10_000)), { state: 'lost', reason: 'gone' })
    const other = run.recordEnd({ state: 'removing' })
    await turn()
    underWay[2]?.reject(new Error('input/output error'))
    await t.rejects(other, { message: 'input/output error' })
    t.equal(run.entry.state, 'lost')
  },
)

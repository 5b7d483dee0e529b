// Reports of nodes that are held for the decision: by whom they are answered, and how long at most. No connection takes part.
import t from 'tap'
import { createHeldReports } from '../../../lib/daemon/controller/held-reports.ts'

const run = { job: 7, restart: 0 }
const commit = { verdict: 'commit', reason: '', missing: [] } as const
const longMs = 600_000

t.test('a report is answered with the decision, each time that it came, and that node needs no message', async (t) => {
  const reports = createHeldReports({ holdMs: longMs })
  const answers = [reports.hold(run, 'n1'), reports.hold(run, 'n1')]
  t.equal(reports.answer(run, 'n2', commit), false, 'n2 has not reported')
  t.equal(reports.answer({ ...run, restart: 1 }, 'n1', commit), false, 'nor has n1 of another run')
  t.equal(reports.answer(run, 'n1', commit), true)
  t.same(await Promise.all(answers), [commit, commit])
  t.equal(reports.answer(run, 'n1', commit), false, 'nobody waits any more')
})

t.test('nobody is held longer than the bound, the connection or the daemon', async (t) => {
  const short = createHeldReports({ holdMs: 1 })
  t.equal(await short.hold(run, 'n1'), undefined)
  t.equal(short.answer(run, 'n1', commit), false, 'it has to be told')
  const reports = createHeldReports({ holdMs: longMs })
  const caller = new AbortController()
  const held = reports.hold(run, 'n1', caller.signal)
  caller.abort()
  t.equal(await held, undefined)
  t.equal(reports.answer(run, 'n1', commit), false, 'its next connection asks again')
  t.equal(await reports.hold(run, 'n1', caller.signal), undefined, 'gone before')
  const last = reports.hold(run, 'n1')
  reports.close()
  t.equal(await last, undefined)
})

t.test('a node with many reports is told to ask again; others are held as before', async (t) => {
  const reports = createHeldReports({ holdMs: longMs })
  const heldOf = (node: string) =>
    Array.from({ length: 16 }, (_, index) => reports.hold({ job: index + 1, restart: 0 }, node))
  const first = heldOf('n1')
  const other = heldOf('n2')
  t.equal(await reports.hold({ job: 99, restart: 0 }, 'n1'), undefined, 'at once')
  t.equal(reports.answer({ job: 4, restart: 0 }, 'n1', commit), true)
  const next = reports.hold({ job: 99, restart: 0 }, 'n1')
  reports.answer({ job: 99, restart: 0 }, 'n1', commit)
  t.same(await next, commit, 'there is room for one again')
  t.same(await first[3], commit)
  reports.close()
  t.same(new Set(await Promise.all([...first.toSpliced(3, 1), ...other])), new Set([undefined]))
})

import t from 'tap'
import { createTaskProlog } from '../../../lib/daemon/node/tasks/task-prolog.ts'
import { silentLog } from '../../../lib/log.ts'

t.test('Slurm is asked seldom, and its last answer stands while it does not answer', async (t) => {
  let asked = 0
  let nowMs = 0
  let answer: string | undefined | Error = new Error('slurmctld is down')
  const taskProlog = createTaskProlog({
    ask: async () => {
      asked += 1
      if (answer instanceof Error) throw answer
      return answer
    },
    log: silentLog,
    now: () => nowMs,
  })
  t.equal(await taskProlog(), undefined, 'a task is not held up by a Slurm that is down')
  answer = '/etc/slurm/prolog'
  t.same(await Promise.all([taskProlog(), taskProlog()]), ['/etc/slurm/prolog', '/etc/slurm/prolog'])
  t.equal(asked, 2, 'once for both')
  nowMs += 299_000
  await taskProlog()
  t.equal(asked, 2)
  nowMs += 2000
  answer = undefined
  t.equal(await taskProlog(), '/etc/slurm/prolog', 'the old answer, while the new one is fetched')
  t.equal(await taskProlog(), undefined)
  t.equal(asked, 3)
})

// The processes of sessions, through the real agent: signals reach whom they should, and nobody outlives a session.
import t from 'tap'
import { frameType } from '../../../lib/guest/frame/frame.ts'
import { until } from '../../support/until.ts'
import { groupings } from './agent-process.ts'
import { Task } from './task.ts'
import { checkGuest, type Guest, startGuest } from './with-agent.ts'

t.setTimeout(120_000)

/** Command lines inside the guest that hold this text. */
function living(guest: Guest, mark: string): string[] {
  const list = guest.agent.inside(['ps', '-eo', 'stat=,args='])
  return list.split('\n').filter((line) => line.includes(mark) && !line.startsWith('Z') && !line.includes('ps -eo'))
}

for (const grouping of groupings) {
  t.test(`signals have a scope (${grouping})`, async (t) => {
    const guest = await startGuest(t, { grouping })
    const script = `
      trap 'echo first' USR1
      sh -c 'trap "echo second" USR1; echo up; while :; do sleep 0.01; done' &
      while :; do sleep 0.01; done`
    for (const [scope, expected] of [
      ['leader', ['first']],
      ['all', ['first', 'second']],
    ] as const) {
      const task = new Task(guest.host, { argv: ['sh', '-c', script] })
      await task.printed('up')
      // A `sleep` that is hit as well ends its shell's step with a message, no more.
      task.signal('USR1', scope)
      for (const word of expected) await task.printed(word)
      t.equal(task.outText.includes('second'), scope === 'all', scope)
      task.signal('KILL', 'all')
      t.strictSame(await task.ended(), { kind: 'signaled', signal: 'KILL' })
      task.close()
    }
    checkGuest(t, guest)
  })

  t.test(`KILL leaves no process (${grouping})`, async (t) => {
    const guest = await startGuest(t, { grouping })
    const mark = '7654321'
    const detached = grouping === 'cgroup' ? `setsid sleep ${mark} &` : ''
    const script = `trap "" TERM INT HUP; sleep ${mark} & (sleep ${mark} & sleep ${mark}) & ${detached} echo up; sleep ${mark}`
    const task = new Task(guest.host, { argv: ['sh', '-c', script] })
    await task.printed('up')
    await until('all of them run', () => living(guest, mark).length >= 4)
    task.kill()
    await until('none is left', () => living(guest, mark).length === 0)
    guest.host.sendHello()
    t.strictSame((await guest.host.greeted()).sessions, [])
    checkGuest(t, guest)
  })

  t.test(`the end of the first process is the end of all (${grouping})`, async (t) => {
    const guest = await startGuest(t, { grouping })
    const mark = '7654322'
    const detached = grouping === 'cgroup' ? `setsid sleep ${mark} & ` : ''
    const task = new Task(guest.host, {
      argv: ['sh', '-c', `sleep ${mark} & ${detached}yes & sleep 0.05; exit 6`],
      keepBytes: 0,
    })
    t.strictSame(await task.ended(), { kind: 'exited', value: 6 })
    await until('none is left', () => living(guest, mark).length === 0)
    task.close()
    checkGuest(t, guest)
  })

  t.test(`200 sessions at once (${grouping})`, async (t) => {
    const guest = await startGuest(t, { grouping })
    const tasks = Array.from({ length: 200 }, (_, i) => {
      return new Task(guest.host, { argv: ['sh', '-c', `read x; echo "${i} $x"; exit ${i}`], stdin: 'open' })
    })
    await until('all run', () => tasks.every((task) => task.isOpened), 60_000)
    for (const [i, task] of tasks.entries()) task.writeStdin(`line ${i}\n`)
    await until('all have ended', () => tasks.every((task) => task.result), 60_000)
    for (const [i, task] of tasks.entries()) {
      t.strictSame(task.result, { kind: 'exited', value: i })
      t.equal(task.outText, `${i} line ${i}\n`)
      task.close()
    }
    guest.host.sendHello()
    t.strictSame((await guest.host.greeted()).sessions, [])
    checkGuest(t, guest)
  })
}

t.test('a signal that comes before the task runs is not lost', async (t) => {
  const guest = await startGuest(t)
  const task = new Task(guest.host, { argv: ['sleep', '100'] })
  task.signal('TERM', 'all')
  t.strictSame(await task.ended(), { kind: 'signaled', signal: 'TERM' })
  checkGuest(t, guest)
})

t.test('more sessions than the agent can have are refused', async (t) => {
  const guest = await startGuest(t)
  for (let i = 1; i <= 1000; i++) guest.host.send({ type: frameType.open, session: BigInt(i) })
  const task = new Task(guest.host, { argv: ['true'] })
  t.match(await task.ended(), { kind: 'error', code: 'too-many-sessions' })
  for (let i = 1; i <= 1000; i++) guest.host.send({ type: frameType.kill, session: BigInt(i) })
  const next = new Task(guest.host, { argv: ['true'] })
  t.strictSame(await next.ended(), { kind: 'exited', value: 0 })
  checkGuest(t, guest)
})

t.test('a task that sends signals and closes everything does not confuse the agent', async (t) => {
  const guest = await startGuest(t)
  const matrix = [
    'kill -STOP 1; kill -KILL 1; kill -TERM -- -1; exit 1',
    'exec 0<&- 1>&- 2>&-; sleep 0.1; exit 1',
    'ulimit -u 1; (sleep 100 & ) ; exit 1',
  ]
  for (const script of matrix) {
    const task = new Task(guest.host, { argv: ['sh', '-c', script] })
    const result = await task.ended()
    t.ok(result.kind === 'exited' || result.kind === 'signaled', script)
    task.close()
  }
  checkGuest(t, guest)
})

import t from 'tap'
import { parseRunId, parseVmName, runId, vmName } from '../../lib/job/run.ts'

t.test('names of runs and VMs say which job, restart and index they are of', async (t) => {
  const run = { job: 123, restart: 4 }
  t.equal(runId(run), 'j123r4')
  t.equal(vmName(run, 17), 'j123r4v17')
  t.same(parseRunId('j123r4'), run)
  t.same(parseVmName('j123r4v17'), { run, index: 17 })
})

t.test('what is not a name of ours is never taken for one', async (t) => {
  for (const text of [
    '',
    'j0r0',
    'j1',
    'j1r',
    'j01r0',
    'j1r01',
    'j99999999999r0',
    'j1r0 ',
    '../j1r0',
    'j1r0v0',
    'J1r0',
  ]) {
    t.equal(parseRunId(text), undefined, text)
  }
  for (const text of ['j1r0', 'j1r0v', 'j1r0v01', 'j1r0v-1', 'xj1r0v0']) t.equal(parseVmName(text), undefined, text)
})

t.test('a run that cannot be is refused', async (t) => {
  for (const run of [
    { job: 0, restart: 0 },
    { job: 1.5, restart: 0 },
    { job: 1, restart: -1 },
    { job: 2 ** 32, restart: 0 },
  ]) {
    t.throws(() => runId(run), { code: 'request-invalid' }, JSON.stringify(run))
  }
})

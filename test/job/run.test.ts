import t from 'tap'
import {
  batchRun,
  originName,
  originOf,
  parseBatchName,
  parseRunId,
  parseVmName,
  runId,
  vmName,
} from '../../lib/job/run.ts'

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

t.test('a batch has names of its own, and no job its number', async (t) => {
  const run = batchRun(7)
  t.equal(runId(run), 'b7r0')
  t.equal(vmName(run, 2), 'b7r0v2')
  t.same(parseRunId('b7r0'), run)
  t.same(parseVmName('b7r0v2'), { run, index: 2 })
  t.same(originOf(run), { kind: 'batch', batch: 7 })
  t.same(originOf({ job: 0xffff_ffff }), { kind: 'job', job: 0xffff_ffff })
  t.same([originName(run), originName({ job: 7 })], ['b7', '7'])
  t.equal(parseBatchName('b4294967295'), 4_294_967_295)
  for (const text of ['b0', 'b07', 'b4294967296', '7', 'bb7', 'b7r0']) t.equal(parseBatchName(text), undefined, text)
  for (const text of ['b0r0', 'b7r1', 'b4294967296r0']) t.equal(parseRunId(text), undefined, text)
  for (const run of [batchRun(0), batchRun(2 ** 32), { ...batchRun(7), restart: 1 }])
    t.throws(() => runId(run), { code: 'request-invalid' }, JSON.stringify(run))
})

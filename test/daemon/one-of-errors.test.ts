import t from 'tap'
import { namingRun, oneOf } from '../../lib/daemon/one-of-errors.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'

const full = () => new Error('database or disk is full')

t.test('one failure, or the same one many times, is what it was', (t) => {
  const error = full()
  t.equal(oneOf([error]), error)
  t.equal(oneOf([error, full(), full()]), error)
  t.end()
})

t.test('of several the first decides what kind it is, and all are told, up to a bound', (t) => {
  const slurm = new VmrmError('command-failed', 'squeue ended with 1', { quoted: 'slurm_load_jobs error' })
  t.match(oneOf([slurm, full()]), {
    ...{ code: 'command-failed', message: 'squeue ended with 1; database or disk is full' },
    ...{ quoted: 'slurm_load_jobs error', cause: slurm },
  })
  const many = Array.from({ length: 1000 }, (_, at) => new Error(`j${at}r0: full`))
  const { message } = oneOf(many) as VmrmError
  t.match(message, /^j0r0: full; j1r0: full; .*; and 980 more failures$/)
  t.end()
})

t.test('a failure about a run names it and stays what it was', (t) => {
  const error = new VmrmError('range-full', '1 wanted, 0 free', { hint: 'wait' })
  t.throws(
    () =>
      namingRun({ job: 5, restart: 1 }, () => {
        throw error
      }),
    { code: 'range-full', message: 'j5r1: 1 wanted, 0 free', hint: 'wait', cause: error },
  )
  namingRun({ job: 5, restart: 1 }, () => {})
  t.end()
})

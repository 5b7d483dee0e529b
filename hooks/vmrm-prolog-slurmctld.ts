// PrologSlurmctld: a run begins. For a job that named an image it never exits non-zero, since Slurm would requeue the job for
// ever. For one that may have a default image it does, if that job has one and must not start now.
import { reached } from '../lib/daemon/steps.ts'
import { runId } from '../lib/job/run.ts'
import { parseControllerJob } from '../lib/slurm/hook-environment.ts'
import { beginUnnamed } from './begin-unnamed.ts'
import { requestOrRefusal, runHook } from './hook.ts'

const planMs = 60_000

export function main(): Promise<number> {
  const asked = requestOrRefusal()
  if (!('request' in asked) && !('refusal' in asked)) return beginUnnamed()
  return runHook({
    daemon: 'controller',
    failureExit: 0,
    async work({ call }) {
      const job = parseControllerJob(process.env)
      await reached('begin.asked', runId(job))
      await call('run-begin', { ...job, ...asked }, planMs)
      await reached('begin.answered', runId(job))
      return 0
    },
  })
}

// PrologSlurmctld: a run begins. It never exits non-zero, since Slurm would requeue the job for ever.
import { parseControllerJob } from '../lib/slurm/hook-environment.ts'
import { requestOrRefusal, runHook } from './hook.ts'

const planMs = 60_000

export function main(): Promise<number> {
  return runHook({
    daemon: 'controller',
    failureExit: 0,
    async work({ call }) {
      await call('run-begin', { ...parseControllerJob(process.env), ...requestOrRefusal() }, planMs)
      return 0
    },
  })
}

// EpilogSlurmctld: a run is over. If this is lost, the reconciler finds out.
import { reached } from '../lib/daemon/steps.ts'
import { runId } from '../lib/job/run.ts'
import { parseControllerJob } from '../lib/slurm/hook-environment.ts'
import { runHook } from './hook.ts'

const endMs = 30_000

export function main(): Promise<number> {
  return runHook({
    daemon: 'controller',
    failureExit: 0,
    patience: process.env.SPANK_VMRM_IMAGE === undefined ? 'impatient' : 'patient',
    async work({ call }) {
      const { job, restart } = parseControllerJob(process.env)
      await reached('end.asked', runId({ job, restart }))
      await call('run-end', { job, restart }, endMs)
      await reached('end.answered', runId({ job, restart }))
      return 0
    },
  })
}

// Epilog: nothing of the run is left on this node when it ends; if something is, the node must not take another job.
import { reached } from '../lib/daemon/steps.ts'
import { runId } from '../lib/job/run.ts'
import { parseHookJob } from '../lib/slurm/hook-environment.ts'
import { runHook } from './hook.ts'

export function main(): Promise<number> {
  return runHook({
    daemon: 'node',
    failureExit: 1,
    async work({ config, call }) {
      const { job, restart } = parseHookJob(process.env)
      await reached('remove.asked', runId({ job, restart }))
      const { outcome, reason } = await call('node-end', { job, restart }, config.timeouts.removeSeconds * 1000)
      await reached('remove.answered', runId({ job, restart }))
      if (outcome === 'removed') return 0
      process.stderr.write(`vmrm: of job ${job} something is left on this node: ${reason ?? ''}\n`)
      return 1
    },
  })
}

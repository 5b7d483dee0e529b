// Epilog: nothing of the run is left on this node when it ends; if something is, the node must not take another job.
import { parseHookJob } from '../lib/slurm/hook-environment.ts'
import { runHook } from './hook.ts'

export function main(): Promise<number> {
  return runHook({
    daemon: 'node',
    failureExit: 1,
    async work({ config, call }) {
      const { job, restart } = parseHookJob(process.env)
      const { outcome, reason } = await call('node-end', { job, restart }, config.timeouts.removeSeconds * 1000)
      if (outcome === 'removed') return 0
      process.stderr.write(`vmrm: of job ${job} something is left on this node: ${reason ?? ''}\n`)
      return 1
    },
  })
}

// Prolog: this node's share of a run. It exits non-zero, and so drains the node, only for a fault of the node itself.
import { parseHookJob } from '../lib/slurm/hook-environment.ts'
import { requestOrRefusal, runHook } from './hook.ts'

/** The daemon's own deadline comes first; this one is for a daemon that hangs. */
const marginMs = 15_000

export function main(): Promise<number> {
  return runHook({
    daemon: 'node',
    failureExit: 1,
    async work({ config, call }) {
      const body = { ...parseHookJob(process.env), ...requestOrRefusal() }
      const timeoutMs = config.timeouts.prepareSeconds * 1000 + marginMs
      const { outcome, reason } = await call('node-prepare', body, timeoutMs)
      if (reason !== undefined) process.stderr.write(reason)
      return outcome === 'node-fault' ? 1 : 0
    },
  })
}

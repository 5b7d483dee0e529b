// Prolog: this node's share of a run. It exits non-zero, and so drains the node, only for a fault of the node itself that
// the controller could not be told of.
import { hostname } from 'node:os'
import type { DaemonConfig } from '../lib/config/daemon-schema.ts'
import { reached } from '../lib/daemon/steps.ts'
import { renderForUser, toVmrmError } from '../lib/errors/vmrm-error.ts'
import { runId } from '../lib/job/run.ts'
import { type HookJob, parseHookJob } from '../lib/slurm/hook-environment.ts'
import { requestOrRefusal, runHook } from './hook.ts'

/** The daemon's own deadline comes first; this one is for a daemon that hangs. */
const marginMs = 15_000
const tellMs = 15_000

export function main(): Promise<number> {
  return runHook({
    daemon: 'node',
    failureExit: 1,
    async work({ config, call }) {
      const job = parseHookJob(process.env)
      await reached('prepare.asked', runId(job))
      const timeoutMs = config.timeouts.prepareSeconds * 1000 + marginMs
      try {
        const { outcome, reason } = await call('node-prepare', { ...job, ...requestOrRefusal() }, timeoutMs)
        await reached('prepare.answered', runId(job))
        if (reason !== undefined) process.stderr.write(reason)
        return outcome === 'node-fault' ? 1 : 0
      } catch (thrown) {
        const error = toVmrmError(thrown)
        if (error.code !== 'daemon-unreachable') throw error
        process.stderr.write(renderForUser(error))
        await tellController(config, job)
        return 0
      }
    },
  })
}

/**
 * vmrmd of this node is down. The controller drains the node with a reason that vmrm clears when the daemon is back, and
 * the job runs elsewhere; Slurm's own way after a failed Prolog is a drain that an administrator must clear and a held job.
 */
async function tellController(config: DaemonConfig, { job, restart }: HookJob): Promise<void> {
  const node = config.node.name ?? hostname().split('.')[0] ?? ''
  const { lookUpAccount } = await import('../lib/daemon/account.ts')
  const { controllerClient } = await import('../lib/daemon/cluster-peers.ts')
  const slurmUid = (await lookUpAccount(config.controller.user)).uid
  const client = controllerClient(config, { name: node, ownUid: process.getuid?.() ?? 0, slurmUid })
  try {
    const reason = `the vmrmd of node ${node} does not answer`
    await client.call('report-failed', { job, restart, node, code: 'node-daemon-down', reason }, { timeoutMs: tellMs })
  } finally {
    client.close()
  }
}

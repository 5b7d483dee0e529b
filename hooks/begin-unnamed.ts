// PrologSlurmctld of a job that named no image itself, on a cluster with default images: most are plain and go on at once,
// whatever is broken here. One whose AdminComment has an image never starts without its VMs: Slurm requeues it.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { DaemonConfig } from '../lib/config/daemon-schema.ts'
import { defaultConfigPath, loadDaemonConfig } from '../lib/config/load.ts'
import { renderForUser, toVmrmError } from '../lib/errors/vmrm-error.ts'
import { parseControllerJob } from '../lib/slurm/hook-environment.ts'
import { callPatiently } from './call-patiently.ts'
import { impatientMs } from './hook.ts'

type Job = ReturnType<typeof parseControllerJob>

/** hooks/paths.h has the same. */
const offSwitch = '/etc/vmrm/off'
const [goOn, requeue] = [0, 1]
const planMs = 60_000

export async function beginUnnamed(): Promise<number> {
  try {
    const job = parseControllerJob(process.env)
    const config = configOrProblem()
    if (typeof config === 'string') return await withoutDaemon(job, config)
    if (existsSync(offSwitch)) return await withoutDaemon(job, 'vmrm is switched off on this host', config)
    return await withDaemon(job, config)
  } catch (thrown) {
    process.stderr.write(renderForUser(toVmrmError(thrown)))
    // Whether the job has an image is not known, and if it has one it must not run outside its VMs.
    return requeue
  }
}

function configOrProblem(): DaemonConfig | string {
  try {
    return loadDaemonConfig(defaultConfigPath)
  } catch (thrown) {
    return toVmrmError(thrown).message
  }
}

async function withDaemon(job: Job, config: DaemonConfig): Promise<number> {
  const begin = async (downMs: number): Promise<number> => {
    const path = join(config.paths.runtime, 'controller.sock')
    const timeoutMs = planMs + config.timeouts.nodeDaemonSeconds * 1000
    const { outcome } = await callPatiently({ path, type: 'run-begin', body: job, timeoutMs, downMs })
    return outcome === 'again' ? requeue : goOn
  }
  try {
    return await begin(impatientMs)
  } catch (thrown) {
    const code = await withoutDaemon(job, toVmrmError(thrown).message, config)
    return code === goOn ? goOn : await begin(config.timeouts.controllerDaemonSeconds * 1000)
  }
}

/** The only Slurm command of a hook: nobody else is there to ask. Throws if Slurm does not answer. */
async function withoutDaemon(job: Job, why: string, config?: DaemonConfig): Promise<number> {
  const { createSlurmCommands } = await import('../lib/slurm/commands.ts')
  const { requestInComment } = await import('../lib/slurm/admin-comment.ts')
  const slurm = createSlurmCommands({
    commandsFolder: config?.slurm.commands ?? '/usr/bin',
    configFile: process.env.SLURM_CONF ?? config?.slurm.config ?? '/etc/slurm/slurm.conf',
  })
  const comment = await slurm.adminComment(job.job)
  try {
    if (requestInComment(comment) === undefined) return goOn
  } catch {
    // A decision that cannot be read is one all the same.
  }
  process.stderr.write(`vmrm: job ${job.job} has an image and cannot start now: ${why}\n`)
  return requeue
}

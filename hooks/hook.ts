// What the four hooks share: environment in, one message to the local daemon, exit code out. A daemon that is being
// restarted is waited for, with a bound.
import { join } from 'node:path'
import type { DaemonConfig } from '../lib/config/daemon-schema.ts'
import { defaultConfigPath, loadDaemonConfig } from '../lib/config/load.ts'
import { renderForUser, toVmrmError } from '../lib/errors/vmrm-error.ts'
import type { ProgramCallType, ReplyOf, RequestOf } from '../lib/protocol/messages.ts'
import { parseVmRequest, type VmRequest } from '../lib/slurm/hook-environment.ts'
import { callPatiently } from './call-patiently.ts'

/** Of a daemon that is down, for a job that most likely has no VM. */
export const impatientMs = 1000

export interface HookCall {
  readonly config: DaemonConfig
  /** Calls the daemon of this host. Rejects with `daemon-unreachable` when it stays down. */
  readonly call: <T extends ProgramCallType>(type: T, body: RequestOf<T>, timeoutMs: number) => Promise<ReplyOf<T>>
}

/**
 * Runs a hook. What it throws is written to stderr (slurmd's or slurmctld's log) and becomes `failureExit`: 0 where Slurm
 * must not act on it, 1 where the node itself is at fault.
 */
export async function runHook(options: {
  daemon: 'node' | 'controller'
  failureExit: 0 | 1
  /** For which jobs a daemon that is down is not waited for: those that most likely have no VM. */
  patience?: 'patient' | 'impatient'
  work: (hook: HookCall) => Promise<number>
}): Promise<number> {
  try {
    const config = loadDaemonConfig(defaultConfigPath)
    const path = join(config.paths.runtime, `${options.daemon}.sock`)
    const { nodeDaemonSeconds, controllerDaemonSeconds } = config.timeouts
    const patientMs = (options.daemon === 'node' ? nodeDaemonSeconds : controllerDaemonSeconds) * 1000
    const downMs = options.patience === 'impatient' ? impatientMs : patientMs
    return await options.work({
      config,
      call: (type, body, timeoutMs) => callPatiently({ path, type, body, timeoutMs, downMs }),
    })
  } catch (thrown) {
    process.stderr.write(renderForUser(toVmrmError(thrown)))
    return options.failureExit
  }
}

/**
 * What the user asked for, or the sentence that says why it cannot be read: a user's mistake must not be the node's.
 * Neither for a job that named no image itself.
 */
export function requestOrRefusal(): { request: VmRequest } | { refusal: string } | Record<never, never> {
  if (process.env.SPANK_VMRM_IMAGE === undefined) return {}
  try {
    return { request: parseVmRequest(process.env) }
  } catch (thrown) {
    return { refusal: toVmrmError(thrown).message }
  }
}

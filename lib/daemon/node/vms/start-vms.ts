// Starts all VMs of a share at the same time, as the run's strategy wants it: the first that fails stops the others, or
// those that fail are left out.
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import type { Strategy } from '../../../job/decision.ts'
import type { Log } from '../../../log.ts'
import type { LiveRun, LiveVm } from '../runs/live-run.ts'
import { allOrStopped } from './all-or-stopped.ts'

export interface StartVms {
  readonly run: LiveRun
  readonly strategy: Strategy
  /** In the order of the share. */
  readonly vms: readonly { readonly name: string }[]
  readonly start: (position: number, signal: AbortSignal) => Promise<LiveVm>
  /** Ends the VM, if there is one. */
  readonly destroy: (name: string) => Promise<unknown>
  readonly signal: AbortSignal
  readonly log: Log
}

/** With best-effort the VMs that did not come up are in the run's `missing`; none at all is a failure with either. */
export async function startVms(options: StartVms): Promise<readonly LiveVm[]> {
  return options.strategy === 'best-effort' ? startMost(options) : startAll(options)
}

async function startAll({ vms, start, signal }: StartVms): Promise<readonly LiveVm[]> {
  return allOrStopped(signal, (both) => vms.map((_, position) => start(position, both)))
}

async function startMost({ run, vms, start, destroy, signal, log }: StartVms): Promise<readonly LiveVm[]> {
  let first: VmrmError | undefined
  const started = await Promise.all(
    vms.map(async ({ name }, position) => {
      try {
        return await start(position, signal)
      } catch (thrown) {
        const error = toVmrmError(thrown)
        first ??= error
        run.missing.set(name, error.message)
        log.warn('vm.missing', { vm: name, code: error.code, reason: error.message })
        // What is left of it goes with the run.
        await destroy(name).catch((problem: unknown) =>
          log.warn('vm.not-destroyed', { vm: name, text: String(problem) }),
        )
        return undefined
      }
    }),
  )
  signal.throwIfAborted()
  const up = started.filter((vm) => vm !== undefined)
  if (up.length === 0) throw first ?? new VmrmError('internal', 'the run has no VM on this node')
  return up
}

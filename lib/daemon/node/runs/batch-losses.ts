// VMs of a batch that end by themselves: the others go on, and the controller is told until it has heard. The loss is in the
// journal first. A job's run is never treated so: it is lost as a whole.
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import { isBatch } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { ControllerLink, VmMaker } from '../ports.ts'
import type { JournalEntry } from './journal.ts'
import type { LiveRun } from './live-run.ts'

export class BatchLosses {
  readonly #options: { readonly controller: ControllerLink; readonly maker: VmMaker; readonly log: Log }
  /** VMs of which the controller has heard since this daemon's start. */
  readonly #told = new WeakMap<LiveRun, Set<string>>()

  constructor(options: { controller: ControllerLink; maker: VmMaker; log: Log }) {
    this.#options = options
  }

  /** Durable, and told if the controller answers, when it returns. What is left of the VM is ended. */
  async lose(run: LiveRun, vm: string, reason: string): Promise<void> {
    const { maker, log } = this.#options
    log.warn('batch.vm-lost', { run: run.name, vm, reason })
    const missing = run.entry.missing ?? []
    if (!missing.some((each) => each.vm === vm)) await run.recordEnd({ missing: [...missing, { vm, reason }] })
    for (const [index, live] of run.vms) {
      if (live.name !== vm) continue
      live.channel.close(reason)
      run.vms.delete(index)
    }
    await maker
      .destroyVm(vm)
      .catch((error: unknown) =>
        log.warn('batch.vm-not-destroyed', { run: run.name, vm, text: toVmrmError(error).message }),
      )
    await this.tell(run)
  }

  /** What the controller may not know; never rejects. */
  async tell(run: LiveRun): Promise<void> {
    if (!isBatch(run.entry) || !isLoss(run.entry)) return
    const told = this.#told.get(run) ?? new Set()
    this.#told.set(run, told)
    for (const loss of run.entry.missing ?? []) {
      if (told.has(loss.vm)) continue
      try {
        await this.#options.controller.reportLost(run.entry, loss)
        told.add(loss.vm)
      } catch (error) {
        return this.#options.log.warn('controller.not-told', { run: run.name, text: toVmrmError(error).message })
      }
    }
  }
}

/**
 * Whether a VM that is missing is lost. Before the decision it is so of a batch that must be whole, which it ends; the others
 * can do without it, and what was missing from the beginning is in the report that they are prepared.
 */
function isLoss({ state, share }: JournalEntry): boolean {
  return state === 'committed' || (state === 'prepared' && share?.strategy !== 'best-effort')
}

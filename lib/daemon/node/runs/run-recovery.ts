// What a start of the daemon finds of its runs in the journal: adopted, finished or dropped, each by itself. It makes nothing, and
// decides nothing that the journal does not say.
import { renderForUser, toVmrmError } from '../../../errors/vmrm-error.ts'
import { isBatch, type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import type { ControllerLink, VmMaker } from '../ports.ts'
import type { BatchLosses } from './batch-losses.ts'
import type { FailureReports } from './failure-reports.ts'
import type { Journal } from './journal.ts'
import { LiveRun } from './live-run.ts'
import type { RunEnds } from './run-ends.ts'
import type { RunPreparation } from './run-preparation.ts'
import type { RunTable } from './run-table.ts'

export interface RunRecoveryOptions {
  readonly journal: Journal
  readonly controller: ControllerLink
  readonly maker: VmMaker
  readonly log: Log
  readonly adoptMs: number
  /** Its VMs from before this start answer again. */
  readonly onAdopted: (run: LiveRun) => void
}

/** What it needs of the rest. */
export interface RunRecoveryParts {
  readonly table: RunTable
  readonly ends: RunEnds
  readonly losses: BatchLosses
  readonly failures: FailureReports
  readonly preparation: RunPreparation
}

export class RunRecovery {
  readonly #options: RunRecoveryOptions
  readonly #parts: RunRecoveryParts

  constructor(options: RunRecoveryOptions, parts: RunRecoveryParts) {
    this.#options = options
    this.#parts = parts
  }

  /** See NodeRuns. */
  async recover(): Promise<{ readonly done: Promise<string> }> {
    const { journal, maker, log } = this.#options
    const { entries, unreadable } = await journal.load()
    const { table } = this.#parts
    for (const entry of entries) table.add(new LiveRun(entry, journal))
    const failed = (event: string) => (error: unknown) => log.error(event, { text: toVmrmError(error).message })
    const beganMs = performance.now()
    const timed = (what: string, work: Promise<void>) =>
      work.then(() => `${what}=${Math.round(performance.now() - beganMs)}`)
    const taken = [
      ...table
        .all()
        .map((run) => timed(run.name, run.exclusively(() => this.#recoverRun(run)).catch(failed('run.not-recovered')))),
      ...unreadable.map((run) => timed(runId(run), this.#forgetUnreadable(run).catch(failed('run.not-forgotten')))),
      timed('strays', maker.removeStrays(table.known).catch(failed('strays.failed'))),
    ]
    return { done: Promise.all(taken).then((phases) => phases.join(' ')) }
  }

  async #recoverRun(run: LiveRun): Promise<void> {
    const { log } = this.#options
    const { state, share } = run.entry
    if (state === 'removing') return this.#parts.ends.remove(run)
    if (state === 'refused' || state === 'lost') {
      // Also where a Prolog was to tell Slurm: whether it was still there to do so nobody knows after a restart.
      this.#parts.failures.keepTelling(run)
      return this.#parts.ends.clear(run)
    }
    try {
      if (state === 'preparing' || share === undefined) await this.#dropHalf(run)
      else await this.#adopt(run, share)
    } catch (thrown) {
      const error = toVmrmError(thrown)
      log.warn('run.not-adopted', { run: run.name, reason: error.message })
      const { controller } = this.#options
      const cause = { vm: run.nameAt(0), reason: error.message }
      await this.#parts.ends.lose(run, renderForUser(error), () => controller.reportLost(run.entry, cause))
    }
  }

  /** Whoever asked for it asks again; half a creation is not worth adopting. */
  async #dropHalf(run: LiveRun): Promise<void> {
    const { maker, journal } = this.#options
    await maker.remove(run.entry)
    await journal.remove(run.entry)
    this.#parts.table.forget(run)
  }

  async #adopt(run: LiveRun, share: Share): Promise<void> {
    const { maker, adoptMs, log } = this.#options
    const { there, gone } = await maker.adopt(run, share, AbortSignal.timeout(adoptMs))
    const [lost] = gone
    if (lost !== undefined && !isBatch(run.entry)) throw lost.error
    for (const { vm, error } of gone) await this.#parts.losses.lose(run, vm, error.message)
    for (const vm of there) run.vms.set(vm.index, vm)
    this.#options.onAdopted(run)
    log.info('run.adopted', { run: run.name, vms: there.length })
    if (run.entry.state === 'prepared') this.#parts.preparation.keepAsking(run)
  }

  async #forgetUnreadable(of: Run): Promise<void> {
    const entry = {
      version: 1,
      ...of,
      uid: 0,
      gid: 0,
      user: '',
      script: 'guest',
      qemuUid: 1,
      state: 'removing',
    } as const
    await this.#options.maker.remove({ ...entry, reason: '', beganMs: 0 })
    await this.#options.journal.remove(of)
  }
}

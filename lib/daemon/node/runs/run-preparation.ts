// The making of a run's VMs on this node and the report of it: the order of its steps and what the journal says at each.
// It never decides whether the run begins.
import { renderForUser, toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { isBatch } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { isDiskFull } from '../../durable-file.ts'
import { reached } from '../../steps.ts'
import type { ControllerLink, Told, VmMaker } from '../ports.ts'
import type { FailureReports } from './failure-reports.ts'
import type { LiveRun } from './live-run.ts'
import { obtainShare, Refusal } from './obtain-share.ts'
import type { RunEnds } from './run-ends.ts'
import type { RunTable } from './run-table.ts'
import { sayAgain } from './say-again.ts'

export type PrepareOutcome =
  | { readonly outcome: 'prepared' }
  | { readonly outcome: 'refused' | 'node-fault'; readonly reason: string }

export interface RunPreparationOptions {
  readonly controller: ControllerLink
  readonly maker: VmMaker
  readonly log: Log
  readonly node: string
  /** From the Prolog's request to its answer, in ms. */
  readonly prepareMs: number
  /** How long the controller is asked for the run's plan. */
  readonly shareMs: number
  readonly now: () => number
}

/** Beyond the run's deadline, by which it is decided. */
const reportMarginMs = 10_000

/** What it needs of the rest. */
export interface RunPreparationParts {
  readonly table: RunTable
  readonly ends: RunEnds
  readonly failures: FailureReports
  readonly askVerdict: (run: LiveRun) => Promise<void>
  /** Does what was decided; rejects if it cannot be journaled. */
  readonly hear: (run: LiveRun, told: Told) => Promise<void>
}

export class RunPreparation {
  readonly #options: RunPreparationOptions
  readonly #parts: RunPreparationParts

  constructor(options: RunPreparationOptions, parts: RunPreparationParts) {
    this.#options = options
    this.#parts = parts
  }

  /** Call exclusively. `problem`: why there can be no VMs. */
  async prepare(run: LiveRun, problem?: VmrmError): Promise<PrepareOutcome> {
    if (run.entry.state === 'prepared' || run.entry.state === 'committed') return { outcome: 'prepared' }
    if (run.entry.state !== 'preparing') return { outcome: 'refused', reason: run.entry.reason }
    const { log, now } = this.#options
    try {
      // Before anything is made: what is found after a crash must be known by name.
      await run.record({})
      await reached('prepare.journaled', run.name)
      if (problem !== undefined) throw problem
      await this.#make(run)
      log.info('run.prepared', { run: run.name, vms: run.vms.size, ms: now() - run.entry.beganMs })
    } catch (thrown) {
      return this.#refuse(run, this.#errorOf(thrown))
    }
    // The Prolog waits for its own node only, and the controller's answer for all of them.
    void this.#hearDecision(run)
    return { outcome: 'prepared' }
  }

  /** Reports again, too: the controller may not have had the report. */
  keepAsking(run: LiveRun): void {
    const isUndecided = () => run.entry.state === 'prepared' && this.#parts.table.holds(run)
    sayAgain(isUndecided, async () => {
      if ((await this.#report(run)) === 'pending') await this.#parts.askVerdict(run)
    })
  }

  /** A node that is prepared never decides alone: the report may have arrived although it seems to have failed. */
  async #hearDecision(run: LiveRun): Promise<void> {
    if ((await this.#report(run)) === 'failed') this.keepAsking(run)
  }

  /** Reports, and does what the answer says; what is `pending` then is told later. */
  async #report(run: LiveRun): Promise<'heard' | 'pending' | 'failed'> {
    const { controller, prepareMs, now } = this.#options
    const leftMs = Math.max(0, run.entry.beganMs + prepareMs - now())
    const signal = AbortSignal.any([run.stop.signal, AbortSignal.timeout(leftMs + reportMarginMs)])
    try {
      const told = await controller.reportPrepared(run.entry, run.entry.missing ?? [], signal)
      await reached('prepare.reported', run.name)
      await this.#parts.hear(run, told)
      return told.verdict === 'pending' ? 'pending' : 'heard'
    } catch (error) {
      // Removed meanwhile: there is nothing to tell any more.
      if (!run.stop.signal.aborted) this.#parts.ends.notTold(run, error)
      return 'failed'
    }
  }

  async #make(run: LiveRun): Promise<void> {
    const { maker, prepareMs, node } = this.#options
    const late = new VmrmError('vm-boot-timeout', `node ${node}: the VMs were not ready after ${prepareMs / 1000} s`)
    const timer = setTimeout(() => run.stop.abort(late), prepareMs)
    try {
      const { controller, shareMs, now } = this.#options
      const share = await obtainShare(run, { controller, shareMs, now })
      await run.record({ share })
      await reached('prepare.shared', run.name)
      const vms = await maker.make(run, share, run.stop.signal)
      await reached('prepare.made', run.name)
      run.stop.signal.throwIfAborted()
      for (const [vm, why] of run.endedEarly) {
        if (share.strategy === 'best-effort' && run.missing.size + 1 < share.vms.length) run.missing.set(vm, why)
        if (run.missing.has(vm)) continue
        throw new VmrmError('vm-lost', `VM ${vm} on node ${node} ended before all VMs were ready: ${why}`)
      }
      for (const vm of vms) if (!run.missing.has(vm.name)) run.vms.set(vm.index, vm)
      const missing = [...run.missing].map(([vm, reason]) => ({ vm, reason }))
      await run.record({ state: 'prepared', ...(missing.length === 0 ? {} : { missing }) })
      await reached('prepare.prepared', run.name)
    } finally {
      clearTimeout(timer)
    }
  }

  async #refuse(run: LiveRun, error: VmrmError): Promise<PrepareOutcome> {
    const isOurs = run.entry.state === 'preparing' || run.entry.state === 'prepared'
    // What the controller has refused itself it need not be told.
    const isNews = isOurs && !(error instanceof Refusal)
    const cause = { code: error.code, reason: [error.message, error.quoted].filter(Boolean).join('\n') }
    if (isOurs)
      await run.recordEnd({ state: 'refused', reason: renderForUser(error), ...(isNews ? { failure: cause } : {}) })
    this.#options.log.warn('run.refused', { run: run.name, code: error.code, reason: error.message })
    const report = async () => (isNews ? this.#reportFailure(run, error) : ('refused' as const))
    // Side by side: one after the other they could outlast the Prolog's own margin.
    const [outcome] = await Promise.all([report(), this.#parts.ends.clear(run)])
    return { outcome, reason: run.entry.reason }
  }

  /** The controller drains a node at fault and sends the job elsewhere; without it Slurm has to be told by the Prolog, and is enough. */
  async #reportFailure(run: LiveRun, error: VmrmError): Promise<'refused' | 'node-fault'> {
    const { failures } = this.#parts
    if ((await failures.tell(run)) === 'heard') return 'refused'
    if (error.family === 'node' && !isBatch(run.entry)) return 'node-fault'
    failures.keepTelling(run)
    return 'refused'
  }

  #errorOf(thrown: unknown): VmrmError {
    if (!isDiskFull(thrown)) return toVmrmError(thrown)
    const text = `node ${this.#options.node} has no room for the files of a VM: ${(thrown as Error).message}`
    return new VmrmError('node-disk-full', text, { cause: thrown })
  }
}

// How runs of this node end: refused, lost, removed. From the journal's word on there is no way back; what is removed and how
// is the VmMaker's.
import { setTimeout as delay } from 'node:timers/promises'
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import type { Log } from '../../../log.ts'
import { reached } from '../../steps.ts'
import type { ControllerLink, VmMaker } from '../ports.ts'
import type { Journal } from './journal.ts'
import type { LiveRun } from './live-run.ts'
import type { RunTable } from './run-table.ts'

/** The controller takes up to 5 s to tell Slurm. */
const lossReportMs = 8000

export interface RunEndsOptions {
  readonly journal: Journal
  readonly controller: ControllerLink
  readonly maker: VmMaker
  readonly log: Log
  /** The run's VMs are gone, or go now: tells the tasks that are still there, and forgets them. */
  readonly onGone: (run: LiveRun, text: string) => void
  readonly now: () => number
}

export class RunEnds {
  readonly #options: RunEndsOptions
  readonly #table: RunTable

  constructor(options: RunEndsOptions, table: RunTable) {
    this.#options = options
    this.#table = table
  }

  /** Removes a refused or lost run's VMs; its entry stays until the Epilog, for tasks to read the reason. */
  async clear(run: LiveRun): Promise<void> {
    if (!this.#table.holds(run)) return
    run.closeChannels('the run was refused')
    await this.#options.maker.remove(run.entry).catch((error: unknown) => {
      this.#options.log.error('run.not-cleared', { run: run.name, text: String(error) })
    })
  }

  /** All of a job's run here; `report` tells the controller, which comes first, with a bound. */
  async lose(run: LiveRun, text: string, report?: () => Promise<void>): Promise<void> {
    if (run.entry.state === 'lost') return
    // Slurm takes the cause (AdminComment) only while the job runs, and it ends with its tasks: the controller comes first,
    // also before those that still wait for the verdict.
    const told = Promise.withResolvers<void>()
    run.causeTold = told.promise
    try {
      await run.recordEnd({ state: 'lost', reason: text })
      const reported = report?.().catch((cause: unknown) => this.notTold(run, cause))
      if (reported !== undefined) await Promise.race([reported, delay(lossReportMs, undefined, { ref: false })])
    } finally {
      told.resolve()
    }
    this.#options.onGone(run, text)
    void run.exclusively(() => this.clear(run))
  }

  /** Everything of it, its entry last. Throws what could not be removed. */
  async remove(run: LiveRun): Promise<void> {
    if (!this.#table.holds(run)) return
    const { maker, journal, controller, log, now } = this.#options
    const startedMs = now()
    await run.recordEnd({ state: 'removing', reason: run.entry.reason })
    await reached('remove.journaled', run.name)
    this.#options.onGone(run, 'vmrm: the job has ended\n')
    run.closeChannels('the run has ended')
    const usage = await maker.remove(run.entry)
    await reached('remove.checked', run.name)
    await journal.remove(run.entry)
    this.#table.remove(run)
    await reached('remove.forgotten', run.name)
    log.info('run.removed', { run: run.name, ms: now() - startedMs, peakMemoryBytes: usage.peakMemoryBytes })
    // Not awaited: the Epilog must not hang on a controller that is down; the next hello tells it all the same.
    controller.reportEnded(run.entry, usage).catch((error: unknown) => this.notTold(run, error))
  }

  notTold(run: LiveRun, cause: unknown): void {
    this.#options.log.warn('controller.not-told', { run: run.name, text: toVmrmError(cause).message })
  }
}

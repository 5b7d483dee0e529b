// Why this node has none of a run's VMs: the controller is told until it has heard, or the run is over. The cause is in the
// journal first, so that a restart forgets nothing; told twice it changes nothing.
import type { ControllerLink } from '../ports.ts'
import type { LiveRun } from './live-run.ts'
import type { RunEnds } from './run-ends.ts'
import type { RunTable } from './run-table.ts'
import { sayAgain } from './say-again.ts'

export class FailureReports {
  readonly #controller: Pick<ControllerLink, 'reportFailed'>
  readonly #parts: { readonly table: RunTable; readonly ends: Pick<RunEnds, 'notTold'> }
  /** Of which the controller has heard since this daemon's start. */
  readonly #heard = new WeakSet<LiveRun>()

  constructor(
    controller: Pick<ControllerLink, 'reportFailed'>,
    parts: { table: RunTable; ends: Pick<RunEnds, 'notTold'> },
  ) {
    this.#controller = controller
    this.#parts = parts
  }

  /** Tells it once. Never rejects. */
  async tell(run: LiveRun): Promise<'heard' | 'unheard'> {
    try {
      await this.#say(run)
      return 'heard'
    } catch (error) {
      this.#parts.ends.notTold(run, error)
      return 'unheard'
    }
  }

  /** In the background; returns at once. */
  keepTelling(run: LiveRun): void {
    const isNeeded = () => isUntold(run) && !this.#heard.has(run) && this.#parts.table.holds(run)
    // That it was not heard was said when it was told for the first time.
    sayAgain(isNeeded, () => this.#say(run).catch(() => {}))
  }

  async #say(run: LiveRun): Promise<void> {
    const { failure } = run.entry
    if (failure !== undefined) await this.#controller.reportFailed(run.entry, failure)
    this.#heard.add(run)
  }
}

function isUntold({ entry }: LiveRun): boolean {
  return entry.state === 'refused' && entry.failure !== undefined
}

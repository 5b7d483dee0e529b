// The runs that this node holds, by name, and the names of those that it removed a while ago. It does nothing to them.
import { originOf, type Run, runId } from '../../../job/run.ts'
import type { KnownRuns } from '../ports.ts'
import type { LiveRun } from './live-run.ts'

const rememberedRuns = 1000

export class RunTable {
  readonly #runs = new Map<string, LiveRun>()
  /** Removed since this daemon's start, the newest last: a Prolog's message that comes so late makes nothing any more. */
  readonly #over = new Set<string>()
  readonly known: KnownRuns = {
    hasRun: (name) => this.#runs.has(name),
    hasNetwork: (vni) => this.all().some((run) => run.entry.share?.vni === vni),
  }

  all(): readonly LiveRun[] {
    return [...this.#runs.values()]
  }

  find(run: Run): LiveRun | undefined {
    return this.#runs.get(runId(run))
  }

  /** The newest run of a job. */
  ofJob(job: number): LiveRun | undefined {
    return this.all()
      .filter((run) => run.entry.job === job)
      .sort((a, b) => b.entry.restart - a.entry.restart)[0]
  }

  /** False once it was removed: its numbers may be another run's by now. */
  holds(run: LiveRun): boolean {
    return this.#runs.get(run.name) === run
  }

  add(run: LiveRun): void {
    this.#runs.set(run.name, run)
  }

  /** As if it had never been: who asked for it may ask again. */
  forget(run: LiveRun): void {
    this.#runs.delete(run.name)
  }

  remove(run: LiveRun): void {
    this.forget(run)
    this.#rememberOver(run.entry)
  }

  isOver(run: Run): boolean {
    return this.#over.has(runId(run))
  }

  /** A job that begins again has another name; a batch that is over before this node has heard of it has not. */
  rememberUnheard(run: Run): void {
    if (originOf(run).kind === 'batch') this.#rememberOver(run)
  }

  /** A uid that no run has, for the QEMUs of one alone. */
  freeUid(options: { firstUid: number; uidCount: number; others: readonly number[] }): number | undefined {
    const { firstUid, uidCount, others } = options
    const used = new Set([...this.all().map((run) => run.entry.qemuUid), ...others])
    for (let uid = firstUid; uid < firstUid + uidCount; uid += 1) if (!used.has(uid)) return uid
    return undefined
  }

  #rememberOver(run: Run): void {
    this.#over.add(runId(run))
    const [oldest] = this.#over
    if (this.#over.size > rememberedRuns && oldest !== undefined) this.#over.delete(oldest)
  }
}

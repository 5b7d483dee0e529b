// The runs of this node: prepare, verdict, loss, removal. It owns who is told what, and in
// which order the parts of it work; each part says what it owns itself.
import { renderForUser, toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { isBatch, originName, parseVmName, type Run, runId } from '../../../job/run.ts'
import type { Verdict } from '../../../job/verdict.ts'
import { allOrFirstError } from '../../all-or-first-error.ts'
import { reached } from '../../steps.ts'
import type { Told } from '../ports.ts'
import { BatchLosses } from './batch-losses.ts'
import { FailureReports } from './failure-reports.ts'
import type { JournalEntry } from './journal.ts'
import { LiveRun } from './live-run.ts'
import { RunEnds, type RunEndsOptions } from './run-ends.ts'
import { type PrepareOutcome, RunPreparation, type RunPreparationOptions } from './run-preparation.ts'
import { RunRecovery, type RunRecoveryOptions } from './run-recovery.ts'
import { RunTable } from './run-table.ts'

export interface PrepareRequest extends Run {
  readonly uid: number
  readonly gid: number
  readonly user: string
  readonly script: 'guest' | 'host'
  /** Why there can be no VMs, where the hook knows already. */
  readonly refusal?: string | undefined
  /** Of a batch. */
  readonly batch?: { readonly name: string; readonly content: string } | undefined
}

export interface NodeRunsOptions extends RunEndsOptions, RunPreparationOptions, RunRecoveryOptions {
  readonly firstUid: number
  readonly uidCount: number
  /** uids of that range that QEMUs have which belong to no run. */
  readonly otherUids: () => readonly number[]
}

export class NodeRuns {
  readonly #options: NodeRunsOptions
  readonly #table = new RunTable()
  readonly #ends: RunEnds
  readonly #losses: BatchLosses
  readonly #preparation: RunPreparation
  readonly #recovery: RunRecovery
  readonly #asked = new Set<LiveRun>()

  constructor(options: NodeRunsOptions) {
    this.#options = options
    this.#ends = new RunEnds(options, this.#table)
    this.#losses = new BatchLosses(options)
    const parts = { table: this.#table, ends: this.#ends, losses: this.#losses }
    const failures = new FailureReports(options.controller, parts)
    this.#preparation = new RunPreparation(options, {
      ...parts,
      failures,
      askVerdict: (run) => this.askVerdict(run),
      hear: (run, told) => this.#hear(run, told),
    })
    this.#recovery = new RunRecovery(options, { ...parts, failures, preparation: this.#preparation })
  }

  all(): readonly LiveRun[] {
    return this.#table.all()
  }

  /** The newest run of a job. */
  ofJob(job: number): LiveRun | undefined {
    return this.#table.ofJob(job)
  }

  /**
   * Learns what the journal has from before this start, and begins to take it up: VMs that are gone make their run lost,
   * nothing else is disturbed. Each run is taken up as its own piece of exclusive work, so that one silent guest holds up
   * no other job; `done` is for those who want to see the end of it, and says what took how long (`j7r0=120 strays=80`).
   */
  recover(): Promise<{ readonly done: Promise<string> }> {
    return this.#recovery.recover()
  }

  /** The Prolog's request, or the controller's for a batch; answers when the VMs are ready or cannot be. Asked again for the same run, it joins in. */
  async prepare(request: PrepareRequest): Promise<PrepareOutcome> {
    for (const older of this.all()) {
      if (older.entry.job === request.job && older.entry.restart < request.restart) await this.remove(older.entry)
    }
    if (this.#table.isOver(request)) {
      const what = isBatch(request) ? `batch ${originName(request)} is over here` : 'the job has ended'
      return { outcome: 'refused', reason: `vmrm: ${what}\n` }
    }
    const known = this.#table.find(request)
    if (known !== undefined) {
      const joined = await known.exclusively(async () =>
        this.#table.holds(known) ? this.#preparation.prepare(known) : undefined,
      )
      // It was removed while this waited, as half a creation is after a restart: then it begins anew.
      return joined ?? this.prepare(request)
    }
    const { firstUid, uidCount, otherUids, node } = this.#options
    const qemuUid = this.#table.freeUid({ firstUid, uidCount, others: otherUids() })
    const run = this.#begin(request, qemuUid ?? firstUid)
    const problem =
      request.refusal !== undefined
        ? new VmrmError('request-invalid', request.refusal)
        : qemuUid === undefined
          ? new VmrmError('range-full', `node ${node}: all ${uidCount} uids for QEMU are in use`)
          : undefined
    return run.exclusively(() => this.#preparation.prepare(run, problem))
  }

  /** The same where nobody waits: what comes of it is reported to the controller. */
  prepareUnattended(request: PrepareRequest): void {
    const isNew = !this.#table.isOver(request) && this.#table.find(request) === undefined
    const work = async () => {
      const answer = await this.prepare(request)
      // Of what it begins with it reports the end itself.
      if (answer.outcome === 'prepared' || isNew) return
      const reason = `node ${this.#options.node}: ${plainReason(answer.reason)}`
      await this.#options.controller.reportFailed(request, { code: 'run-ended', reason })
    }
    work().catch((error: unknown) =>
      this.#options.log.error('run.not-prepared', { run: runId(request), text: toVmrmError(error).message }),
    )
  }

  /** What the controller decided; durable when it returns, VMs that must go are removed afterwards. Repeated, late and unknown verdicts change nothing. */
  async applyVerdict(of: Run, { verdict, reason, missing = [] }: Told): Promise<void> {
    const run = this.#table.find(of)
    if (run === undefined || verdict === 'pending' || verdict === 'ended') return
    if (verdict === 'commit') await reached('verdict.received', run.name)
    const text = renderReason(reason)
    const { state } = run.entry
    if (verdict === 'commit') {
      const lacks = missing.length === 0 ? {} : { missingHosts: [...missing] }
      if (state === 'prepared') await run.record({ state: 'committed', ...lacks })
      await reached('verdict.journaled', run.name)
      return
    }
    if (verdict === 'abort' && (state === 'preparing' || state === 'prepared')) {
      run.stop.abort(new VmrmError('run-ended', reason))
      await run.recordEnd({ state: 'refused', reason: run.entry.reason === '' ? text : run.entry.reason })
      void run.exclusively(() => this.#ends.clear(run))
    }
    // A node that missed the commit learns of the loss alone.
    if (verdict === 'lost' && (state === 'prepared' || state === 'committed')) await this.#ends.lose(run, text)
  }

  /**
   * A VM has ended by itself; `why` is for people. The whole run is lost, or cannot be made if it was still being prepared; of a
   * batch the VM alone.
   */
  async vmStopped(vm: string, why: string): Promise<void> {
    const named = parseVmName(vm)
    const run = named === undefined ? undefined : this.#table.find(named.run)
    if (run?.entry.state === 'preparing') run.endedEarly.set(vm, why)
    if (run === undefined || (run.entry.state !== 'committed' && run.entry.state !== 'prepared')) return
    if (run.entry.missing?.some((each) => each.vm === vm)) return
    const { maker, controller, node, log } = this.#options
    if (isBatch(run.entry)) return run.exclusively(() => this.#loseOne(run, vm, why))
    const tail = await maker.consoleTail(run.entry, vm)
    const error = new VmrmError('vm-lost', `VM ${vm} on node ${node} ended while the job ran: ${why}`, {
      ...(tail === '' ? {} : { quoted: tail }),
    })
    log.warn('vm.lost', { run: run.name, vm, why })
    const reason = [why, tail].filter(Boolean).join('\n')
    await this.#ends.lose(run, renderForUser(error), () => controller.reportLost(run.entry, { vm, reason }))
  }

  /** Removes all runs of the job up to this restart count; answers when nothing is left. Throws what could not be removed. */
  async remove(upTo: Run): Promise<void> {
    const runs = this.all().filter((run) => run.entry.job === upTo.job && run.entry.restart <= upTo.restart)
    for (const run of runs) run.stop.abort(new VmrmError('run-ended', 'the job has ended'))
    await allOrFirstError(runs.map((run) => run.exclusively(() => this.#ends.remove(run))))
    this.#table.rememberUnheard(upTo)
  }

  /** Asks the controller what was decided, for a push that was lost; one question a run at a time, however many tasks wait. */
  async askVerdict(run: LiveRun): Promise<void> {
    if (this.#asked.has(run)) return
    this.#asked.add(run)
    try {
      await this.#hear(run, await this.#options.controller.getVerdict(run.entry))
    } catch (error) {
      this.#ends.notTold(run, error)
    } finally {
      this.#asked.delete(run)
    }
  }

  /** Compares with the controller and with what exists; removes runs that are over. */
  async reconcile(): Promise<void> {
    const { controller, maker, log } = this.#options
    const before = this.all()
    const verdicts = await controller.hello(before.map((run) => run.entry))
    // Side by side: a removal may wait for what is under way, and another run's verdict must not.
    const followed = verdicts.map(async (answer) => {
      const run = this.#table.find(answer)
      if (run === undefined || !before.includes(run)) return
      await this.#follow(run, answer.verdict).catch((error: unknown) =>
        log.error('run.not-reconciled', { run: run.name, text: toVmrmError(error).message }),
      )
    })
    await Promise.all(followed)
    await Promise.all(this.all().map((run) => this.#losses.tell(run)))
    await maker.removeStrays(this.#table.known)
  }

  /** Its run may have been removed while this waited. */
  async #loseOne(run: LiveRun, vm: string, why: string): Promise<void> {
    const { state } = run.entry
    if (this.#table.holds(run) && (state === 'prepared' || state === 'committed')) await this.#losses.lose(run, vm, why)
  }

  /** An answer of the controller's to a question or a report. */
  async #hear(run: LiveRun, told: Told): Promise<void> {
    const isOver = told.verdict === 'ended' && run.entry.state !== 'committed'
    await this.applyVerdict(run.entry, isOver ? { verdict: 'abort', reason: 'the job has ended' } : told)
  }

  async #follow(run: LiveRun, verdict: Verdict): Promise<void> {
    if (verdict === 'ended') await this.remove(run.entry)
    else if (run.entry.state === 'lost' && !isBatch(run.entry) && (verdict === 'commit' || verdict === 'pending'))
      await this.#tellLoss(run)
    else if (verdict === 'commit' && run.entry.share?.strategy !== 'best-effort')
      await this.applyVerdict(run.entry, { verdict, reason: '' })
    // A hello tells no reasons, nor which VMs are missing, and the tasks read them.
    else if (verdict !== 'pending' && isOpen(run.entry)) await this.askVerdict(run)
  }

  /** The controller was down when the VM ended: the other nodes' tasks wait for that. */
  async #tellLoss(run: LiveRun): Promise<void> {
    const reason = plainReason(run.entry.reason)
    const [, vm = run.nameAt(0)] = /\bVM (j\d+r\d+v\d+)\b/.exec(reason) ?? []
    await this.#options.controller.reportLost(run.entry, { vm, reason })
  }

  #begin(request: PrepareRequest, qemuUid: number): LiveRun {
    const { job, restart, uid, gid, user, script, batch } = request
    const entry: JournalEntry = {
      version: 1,
      ...{ job, restart, uid, gid, user, script },
      ...(batch === undefined ? {} : { batch }),
      qemuUid,
      state: 'preparing',
      reason: '',
      beganMs: this.#options.now(),
    }
    const run = new LiveRun(entry, this.#options.journal)
    this.#table.add(run)
    return run
  }
}

function isOpen({ state }: JournalEntry): boolean {
  return state === 'preparing' || state === 'prepared' || state === 'committed'
}

/** A reason as other hosts are sent it. */
function plainReason(text: string): string {
  return text.replace(/^vmrm: /gm, '').trim()
}

/** A reason that another host sent: its sentence, then the lines it quotes. */
function renderReason(reason: string): string {
  const [sentence = '', ...quoted] = reason.split('\n')
  if (sentence === '') return ''
  return [sentence, ...quoted.map((line) => `  | ${line}`)].map((line) => `vmrm: ${line}\n`).join('')
}

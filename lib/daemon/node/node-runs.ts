// The runs of this node: prepare, verdict, loss, removal, and what a start of the daemon finds. It owns the order of steps
// and the journal's states; how things are made and removed is the VmMaker's.
import { setTimeout as delay } from 'node:timers/promises'
import { renderForUser, toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import { parseVmName, type Run, runId } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import { isDiskFull } from '../durable-file.ts'
import { reached } from '../steps.ts'
import type { Journal, JournalEntry } from './journal.ts'
import { LiveRun } from './live-run.ts'
import { obtainShare, Refusal } from './obtain-share.ts'
import type { ControllerLink, KnownRuns, Verdict, VmMaker } from './ports.ts'

export type PrepareOutcome =
  | { readonly outcome: 'prepared' }
  | { readonly outcome: 'refused' | 'node-fault'; readonly reason: string }

export interface PrepareRequest extends Run {
  readonly uid: number
  readonly gid: number
  readonly user: string
  readonly script: 'guest' | 'host'
  /** Why there can be no VMs, where the hook knows already. */
  readonly refusal?: string | undefined
}

export interface NodeRunsOptions {
  readonly journal: Journal
  readonly controller: ControllerLink
  readonly maker: VmMaker
  readonly log: Log
  readonly node: string
  /** From the Prolog's request to its answer, in ms. */
  readonly prepareMs: number
  /** How long the controller is asked for the run's plan. */
  readonly shareMs: number
  readonly adoptMs: number
  readonly firstUid: number
  readonly uidCount: number
  /** uids of that range that QEMUs have which belong to no run. */
  readonly otherUids: () => readonly number[]
  /** The run's VMs are gone, or go now: tells the tasks that are still there, and forgets them. */
  readonly onGone: (run: LiveRun, text: string) => void
  /** Its VMs from before this start answer again. */
  readonly onAdopted: (run: LiveRun) => void
  readonly now: () => number
}

const askAgainMs = 1000
/** The controller takes up to 5 s to tell Slurm. */
const lossReportMs = 8000
const rememberedRuns = 1000

export class NodeRuns {
  readonly #options: NodeRunsOptions
  readonly #runs = new Map<string, LiveRun>()
  readonly #asked = new Set<LiveRun>()
  /** Removed since this daemon's start, the newest last: a Prolog's message that comes so late makes nothing any more. */
  readonly #over = new Set<string>()
  readonly #known: KnownRuns = {
    hasRun: (name) => this.#runs.has(name),
    hasNetwork: (vni) => this.all().some((run) => run.entry.share?.vni === vni),
  }

  constructor(options: NodeRunsOptions) {
    this.#options = options
  }

  all(): readonly LiveRun[] {
    return [...this.#runs.values()]
  }

  /** The newest run of a job. */
  ofJob(job: number): LiveRun | undefined {
    return this.all()
      .filter((run) => run.entry.job === job)
      .sort((a, b) => b.entry.restart - a.entry.restart)[0]
  }

  /**
   * Learns what the journal has from before this start, and begins to take it up: VMs that are gone make their run lost,
   * nothing else is disturbed. Each run is taken up as its own piece of exclusive work, so that one silent guest holds up
   * no other job; `done` is for those who want to see the end of it.
   */
  async recover(): Promise<{ readonly done: Promise<void> }> {
    const { journal, maker, log } = this.#options
    const { entries, unreadable } = await journal.load()
    for (const entry of entries) this.#runs.set(runId(entry), new LiveRun(entry, journal))
    const failed = (event: string) => (error: unknown) => log.error(event, { text: toVmrmError(error).message })
    const taken = [
      ...this.all().map((run) => run.exclusively(() => this.#recoverRun(run)).catch(failed('run.not-recovered'))),
      ...unreadable.map((run) => this.#forgetUnreadable(run).catch(failed('run.not-forgotten'))),
      maker.removeStrays(this.#known).catch(failed('strays.failed')),
    ]
    return { done: Promise.all(taken).then(() => {}) }
  }

  /** The Prolog's request; answers when the VMs are ready or cannot be. Asked again for the same run, it joins in. */
  async prepare(request: PrepareRequest): Promise<PrepareOutcome> {
    for (const older of this.all()) {
      if (older.entry.job === request.job && older.entry.restart < request.restart) await this.remove(older.entry)
    }
    if (this.#over.has(runId(request))) return { outcome: 'refused', reason: 'vmrm: the job has ended\n' }
    const known = this.#runs.get(runId(request))
    if (known !== undefined) {
      const joined = await known.exclusively(async () =>
        this.#runs.get(known.name) === known ? this.#prepareOnce(known) : undefined,
      )
      // It was removed while this waited, as half a creation is after a restart: then it begins anew.
      return joined ?? this.prepare(request)
    }
    const { firstUid, uidCount, node } = this.#options
    const qemuUid = this.#freeUid()
    const run = this.#begin(request, qemuUid ?? firstUid)
    const problem =
      request.refusal !== undefined
        ? new VmrmError('request-invalid', request.refusal)
        : qemuUid === undefined
          ? new VmrmError('range-full', `node ${node}: all ${uidCount} uids for QEMU are in use`)
          : undefined
    return run.exclusively(() => this.#prepareOnce(run, problem))
  }

  /** What the controller decided; durable when it returns, VMs that must go are removed afterwards. Repeated, late and unknown verdicts change nothing. */
  async applyVerdict(of: Run, verdict: Verdict, reason: string, missingHosts: readonly string[] = []): Promise<void> {
    const run = this.#runs.get(runId(of))
    if (run === undefined || verdict === 'pending' || verdict === 'ended') return
    if (verdict === 'commit') await reached('verdict.received', run.name)
    const text = renderReason(reason)
    const { state } = run.entry
    if (verdict === 'commit') {
      const lacks = missingHosts.length === 0 ? {} : { missingHosts: [...missingHosts] }
      if (state === 'prepared') await run.record({ state: 'committed', ...lacks })
      await reached('verdict.journaled', run.name)
      return
    }
    if (verdict === 'abort' && (state === 'preparing' || state === 'prepared')) {
      run.stop.abort(new VmrmError('run-ended', reason))
      await run.recordEnd({ state: 'refused', reason: run.entry.reason === '' ? text : run.entry.reason })
      void run.exclusively(() => this.#clear(run))
    }
    // A node that missed the commit learns of the loss alone.
    if (verdict === 'lost' && (state === 'prepared' || state === 'committed')) await this.#lose(run, text)
  }

  /** A VM has ended by itself; `why` is for people. The whole run is lost, or cannot be made if it was still being prepared. */
  async vmStopped(vm: string, why: string): Promise<void> {
    const named = parseVmName(vm)
    const run = named === undefined ? undefined : this.#runs.get(runId(named.run))
    if (run?.entry.state === 'preparing') run.endedEarly.set(vm, why)
    if (run === undefined || (run.entry.state !== 'committed' && run.entry.state !== 'prepared')) return
    if (run.entry.missing?.some((each) => each.vm === vm)) return
    const { maker, controller, node, log } = this.#options
    const tail = await maker.consoleTail(run.entry, vm)
    const error = new VmrmError('vm-lost', `VM ${vm} on node ${node} ended while the job ran: ${why}`, {
      ...(tail === '' ? {} : { quoted: tail }),
    })
    log.warn('vm.lost', { run: run.name, vm, why })
    const reason = [why, tail].filter(Boolean).join('\n')
    await this.#lose(run, renderForUser(error), () => controller.reportLost(run.entry, { vm, reason }))
  }

  /** Removes all runs of the job up to this restart count; answers when nothing is left. Throws what could not be removed. */
  async remove(upTo: Run): Promise<void> {
    const runs = this.all().filter((run) => run.entry.job === upTo.job && run.entry.restart <= upTo.restart)
    for (const run of runs) {
      run.stop.abort(new VmrmError('run-ended', 'the job has ended'))
      await run.exclusively(() => this.#removeOnce(run))
    }
  }

  /** Asks the controller what was decided, for a push that was lost; one question a run at a time, however many tasks wait. */
  async askVerdict(run: LiveRun): Promise<void> {
    if (this.#asked.has(run)) return
    this.#asked.add(run)
    try {
      const { verdict, reason, missing } = await this.#options.controller.getVerdict(run.entry)
      const isOver = verdict === 'ended' && run.entry.state !== 'committed'
      await this.applyVerdict(run.entry, isOver ? 'abort' : verdict, isOver ? 'the job has ended' : reason, missing)
    } catch (error) {
      this.#notTold(run, error)
    } finally {
      this.#asked.delete(run)
    }
  }

  /** Compares with the controller and with what exists; removes runs that are over. */
  async reconcile(): Promise<void> {
    const { controller, maker, log } = this.#options
    const before = this.all()
    const verdicts = await controller.hello(before.map((run) => run.entry))
    for (const answer of verdicts) {
      const run = this.#runs.get(runId(answer))
      if (run === undefined || !before.includes(run)) continue
      await this.#follow(run, answer.verdict).catch((error: unknown) =>
        log.error('run.not-reconciled', { run: run.name, text: toVmrmError(error).message }),
      )
    }
    await maker.removeStrays(this.#known)
  }

  async #follow(run: LiveRun, verdict: Verdict): Promise<void> {
    if (verdict === 'ended') await this.remove(run.entry)
    else if (verdict === 'commit' && run.entry.share?.strategy !== 'best-effort')
      await this.applyVerdict(run.entry, verdict, '')
    // A hello tells no reasons, nor which VMs are missing, and the tasks read them.
    else if (verdict !== 'pending' && isOpen(run.entry)) await this.askVerdict(run)
  }

  #rememberOver(run: string): void {
    this.#over.add(run)
    const [oldest] = this.#over
    if (this.#over.size > rememberedRuns && oldest !== undefined) this.#over.delete(oldest)
  }

  #begin(request: PrepareRequest, qemuUid: number): LiveRun {
    const { job, restart, uid, gid, user, script } = request
    const entry: JournalEntry = {
      version: 1,
      ...{ job, restart, uid, gid, user, script },
      qemuUid,
      state: 'preparing',
      reason: '',
      beganMs: this.#options.now(),
    }
    const run = new LiveRun(entry, this.#options.journal)
    this.#runs.set(run.name, run)
    return run
  }

  /** A uid that no run of this node has, for this run's QEMUs alone. */
  #freeUid(): number | undefined {
    const { firstUid, uidCount, otherUids } = this.#options
    const used = new Set([...this.all().map((run) => run.entry.qemuUid), ...otherUids()])
    for (let uid = firstUid; uid < firstUid + uidCount; uid += 1) if (!used.has(uid)) return uid
    return undefined
  }

  async #prepareOnce(run: LiveRun, problem?: VmrmError): Promise<PrepareOutcome> {
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
    // A node that is prepared never decides alone: the report may have arrived although it seems to have failed.
    if (!(await this.#reportPrepared(run))) this.#keepAsking(run)
    await reached('prepare.reported', run.name)
    return { outcome: 'prepared' }
  }

  async #reportPrepared(run: LiveRun): Promise<boolean> {
    try {
      await this.#options.controller.reportPrepared(run.entry, run.entry.missing ?? [])
      return true
    } catch (error) {
      this.#notTold(run, error)
      return false
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
    const { controller, log } = this.#options
    const isOurs = run.entry.state === 'preparing' || run.entry.state === 'prepared'
    if (isOurs) await run.recordEnd({ state: 'refused', reason: renderForUser(error) })
    log.warn('run.refused', { run: run.name, code: error.code, reason: error.message })
    const report = async (): Promise<PrepareOutcome['outcome']> => {
      if (!isOurs || error instanceof Refusal) return 'refused'
      const cause = { code: error.code, reason: [error.message, error.quoted].filter(Boolean).join('\n') }
      try {
        await controller.reportFailed(run.entry, cause)
        return 'refused'
      } catch (failure) {
        this.#notTold(run, failure)
        // The controller drains a node at fault and sends the job elsewhere; without it Slurm has to be told by the Prolog.
        return error.family === 'node' ? 'node-fault' : 'refused'
      }
    }
    // Side by side: one after the other they could outlast the Prolog's own margin.
    const [outcome] = await Promise.all([report(), this.#clear(run)])
    return { outcome, reason: run.entry.reason }
  }

  /** Removes a refused or lost run's VMs; its entry stays until the Epilog, for tasks to read the reason. */
  async #clear(run: LiveRun): Promise<void> {
    // Removed meanwhile: its numbers may be another run's by now.
    if (this.#runs.get(run.name) !== run) return
    run.closeChannels('the run was refused')
    await this.#options.maker.remove(run.entry).catch((error: unknown) => {
      this.#options.log.error('run.not-cleared', { run: run.name, text: String(error) })
    })
  }

  async #lose(run: LiveRun, text: string, report?: () => Promise<void>): Promise<void> {
    if (run.entry.state === 'lost') return
    // Slurm takes the cause (AdminComment) only while the job runs, and it ends with its tasks: the controller comes first,
    // also before those that still wait for the verdict.
    const told = Promise.withResolvers<void>()
    run.causeTold = told.promise
    try {
      await run.recordEnd({ state: 'lost', reason: text })
      const reported = report?.().catch((cause: unknown) => this.#notTold(run, cause))
      if (reported !== undefined) await Promise.race([reported, delay(lossReportMs, undefined, { ref: false })])
    } finally {
      told.resolve()
    }
    this.#options.onGone(run, text)
    void run.exclusively(() => this.#clear(run))
  }

  async #removeOnce(run: LiveRun): Promise<void> {
    if (this.#runs.get(run.name) !== run) return
    const { maker, journal, controller, log, now } = this.#options
    const startedMs = now()
    await run.recordEnd({ state: 'removing', reason: run.entry.reason })
    await reached('remove.journaled', run.name)
    this.#options.onGone(run, 'vmrm: the job has ended\n')
    run.closeChannels('the run has ended')
    const usage = await maker.remove(run.entry)
    await reached('remove.checked', run.name)
    await journal.remove(run.entry)
    this.#runs.delete(run.name)
    this.#rememberOver(run.name)
    await reached('remove.forgotten', run.name)
    log.info('run.removed', { run: run.name, ms: now() - startedMs, peakMemoryBytes: usage.peakMemoryBytes })
    // Not awaited: the Epilog must not hang on a controller that is down; the next hello tells it all the same.
    controller.reportEnded(run.entry, usage).catch((error: unknown) => this.#notTold(run, error))
  }

  async #recoverRun(run: LiveRun): Promise<void> {
    const { maker, journal, adoptMs, log } = this.#options
    const { state, share } = run.entry
    try {
      if (state === 'removing') return await this.#removeOnce(run)
      if (state === 'preparing' || share === undefined) {
        // Whoever asked for it asks again; half a creation is not worth adopting.
        await maker.remove(run.entry)
        await journal.remove(run.entry)
        this.#runs.delete(run.name)
        return
      }
      if (state === 'refused' || state === 'lost') return await this.#clear(run)
      const vms = await maker.adopt(run, share, AbortSignal.timeout(adoptMs))
      for (const vm of vms) run.vms.set(vm.index, vm)
      this.#options.onAdopted(run)
      log.info('run.adopted', { run: run.name, vms: vms.length })
      if (state === 'prepared') this.#keepAsking(run)
    } catch (thrown) {
      const error = toVmrmError(thrown)
      log.warn('run.not-adopted', { run: run.name, reason: error.message })
      const { controller } = this.#options
      const cause = { vm: run.nameAt(0), reason: error.message }
      await this.#lose(run, renderForUser(error), () => controller.reportLost(run.entry, cause))
    }
  }

  /** Reports again, too: the controller may not have had the report. */
  #keepAsking(run: LiveRun): void {
    const timer = setInterval(async () => {
      if (run.entry.state !== 'prepared' || this.#runs.get(run.name) !== run) clearInterval(timer)
      else if (await this.#reportPrepared(run)) await this.askVerdict(run)
    }, askAgainMs)
    timer.unref()
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

  #errorOf(thrown: unknown): VmrmError {
    if (!isDiskFull(thrown)) return toVmrmError(thrown)
    const text = `node ${this.#options.node} has no room for the files of a VM: ${(thrown as Error).message}`
    return new VmrmError('node-disk-full', text, { cause: thrown })
  }

  #notTold(run: LiveRun, cause: unknown): void {
    this.#options.log.warn('controller.not-told', { run: run.name, text: toVmrmError(cause).message })
  }
}

function isOpen({ state }: JournalEntry): boolean {
  return state === 'preparing' || state === 'prepared' || state === 'committed'
}

/** A reason that another host sent: its sentence, then the lines it quotes. */
function renderReason(reason: string): string {
  const [sentence = '', ...quoted] = reason.split('\n')
  if (sentence === '') return ''
  return [sentence, ...quoted.map((line) => `  | ${line}`)].map((line) => `vmrm: ${line}\n`).join('')
}

// What the runs of a node need of the world, as ports: the controller, and the maker of VMs. The daemon composes the real
// ones; test/fakes has complete stand-ins.
import type { VmrmError } from '../../errors/vmrm-error.ts'
import type { Run } from '../../job/run.ts'
import type { Verdict } from '../../job/verdict.ts'
import type { Share } from '../../protocol/messages/share.ts'
import type { JournalEntry } from './runs/journal.ts'
import type { LiveRun, LiveVm } from './runs/live-run.ts'

export interface Usage {
  readonly peakMemoryBytes: number
  readonly cpuTimeNs: number
}

/** A VM that did not come up, which best-effort allows. */
export interface MissingVm {
  readonly vm: string
  readonly reason: string
}

/** What the controller says was decided. */
export interface Told {
  readonly verdict: Verdict
  readonly reason: string
  /** Hostnames of the VMs that the job begins without. */
  readonly missing?: readonly string[]
}

export type ShareAnswer =
  | { readonly state: 'share'; readonly share: Share }
  | { readonly state: 'pending' | 'unknown' }
  | { readonly state: 'refused'; readonly reason: string }

/** Calls to the controller's daemon. All of them reject with `controller-unreachable` when it does not answer. */
export interface ControllerLink {
  getShare(run: Run, signal: AbortSignal): Promise<ShareAnswer>
  /** Answered when it is decided, or pending after half a minute. The signal ends the wait, and the report may have come or not. */
  reportPrepared(run: Run, missing: readonly MissingVm[], signal: AbortSignal): Promise<Told>
  reportFailed(run: Run, cause: { code: string; reason: string }): Promise<void>
  reportEnded(run: Run, usage: Usage): Promise<void>
  reportLost(run: Run, cause: { vm: string; reason: string }): Promise<void>
  getVerdict(run: Run): Promise<Told>
  /** Those of the jobs that Slurm says are over. */
  endedJobs(jobs: readonly number[]): Promise<readonly number[]>
  /** Tells which runs this node holds and learns what is to become of them. */
  hello(runs: readonly JournalEntry[]): Promise<readonly (Run & { verdict: Verdict })[]>
}

/** Asked at the last moment, so that a run that begins meanwhile is no stray. */
export interface KnownRuns {
  hasRun(name: string): boolean
  hasNetwork(vni: number): boolean
}

/** Of a run from before a restart: the VMs that answer, and why each other one is gone, in the share's order. */
export interface AdoptedVms {
  readonly there: readonly LiveVm[]
  readonly gone: readonly { readonly vm: string; readonly error: VmrmError }[]
}

/** Makes, finds again and removes all that a run has on this node. */
export interface VmMaker {
  /**
   * Network, exports, cgroup and VMs of the share, each VM with its identity. All of it, or it throws and the caller removes;
   * with best-effort at least one VM, and those that did not come up are in the run's `missing`.
   */
  make(run: LiveRun, share: Share, signal: AbortSignal): Promise<readonly LiveVm[]>
  /** The VMs of a run that was made before this daemon started, but for those that were missing already. */
  adopt(run: LiveRun, share: Share, signal: AbortSignal): Promise<AdoptedVms>
  /** Removes all of the run but its journal and checks that it is gone; safe to repeat. Throws what could not be removed. */
  remove(entry: JournalEntry): Promise<Usage>
  /** Ends one VM and leaves the rest of its run alone; safe to repeat. */
  destroyVm(vm: string): Promise<void>
  /** Removes what has our names and belongs to none of these runs. */
  removeStrays(known: KnownRuns): Promise<void>
  /** The last lines of a VM's console, empty where there are none. */
  consoleTail(entry: JournalEntry, vm: string): Promise<string>
}

// The port to whatever runs VMs on a node: what the daemon may ask and what it is told. No libvirt or QEMU in here.
import type { DomainMetadata } from './domain-metadata.ts'
import type { DomainSpec } from './domain-xml.ts'

export interface HypervisorCallOptions {
  /** Ends the wait with its reason; what was asked may still happen. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Why a VM is no more. `shutdown`: its guest switched it off; `panicked`: its guest's kernel gave up; `crashed`: QEMU ended
 * by itself or was killed; `destroyed`: by `destroy`; `vanished`: it was gone when the connection was back; `other`: saved,
 * migrated. `io-error`: QEMU holds it still, for its disk cannot be written (no room, mostly); it has to be destroyed.
 */
export type StopReason = 'shutdown' | 'panicked' | 'crashed' | 'destroyed' | 'vanished' | 'io-error' | 'other'

/** The reasons as a user reads them. */
export const stopReasonTexts = {
  shutdown: 'its guest switched it off or restarted it',
  panicked: "its guest's kernel panicked",
  crashed: 'its QEMU crashed or was killed',
  destroyed: 'it was destroyed',
  vanished: 'it was gone when libvirtd was back',
  'io-error': 'QEMU stopped it, since its disk could not be written',
  other: 'for a reason libvirt does not tell',
} as const satisfies Record<StopReason, string>

export interface StoppedVm {
  readonly name: string
  readonly reason: StopReason
}

export interface VmOnNode {
  readonly name: string
  readonly state: 'running' | 'paused' | 'stopping'
  readonly metadata: DomainMetadata
}

export type Reachability = 'reachable' | 'unreachable'

/**
 * VMs of this cluster on this node; others' are neither listed nor touched, even under a name of ours.
 * Every call waits a short while for a connection that is being renewed and then rejects with `libvirt-unreachable`, which
 * leaves open whether what was asked has happened. All may be called at the same time.
 */
export interface Hypervisor {
  readonly reachability: Reachability
  /**
   * Makes the VM and returns when its QEMU is there, its guest not yet running. `vm-start-failed` when it is refused, a VM
   * of that name included. After any failure or abort the VM may exist: destroy it.
   */
  startPaused(spec: DomainSpec, options?: HypervisorCallOptions): Promise<void>
  /**
   * Makes a template of a VM that was started with memory of kind `template`: pauses it, writes all of its state that is not
   * memory to `statePath`, a new file of this process's, and ends it. From then on memory, state and overlay belong together
   * and must not change. `template-failed`, with what QEMU says; after any failure or abort the VM may still be there, and a
   * part of the state: destroy and remove them.
   */
  saveTemplate(name: string, statePath: string, options?: HypervisorCallOptions): Promise<void>
  /**
   * Brings a VM that was started with memory of kind `clone` to where its template was saved. It stays paused: connect to its
   * ports, then resume. Once a VM, and never later than `resume`. `vm-start-failed`, with what QEMU says; after any failure or
   * abort the VM is of no use: destroy it.
   */
  load(name: string, statePath: string, options?: HypervisorCallOptions): Promise<void>
  /** Lets the guest run. A VM that runs already stays as it is; `vm-lost` when there is none. */
  resume(name: string, options?: HypervisorCallOptions): Promise<void>
  /** Ends the VM at once and returns when it is gone. `not-running` when there was none, as far as is known. */
  destroy(name: string, options?: HypervisorCallOptions): Promise<'destroyed' | 'not-running'>
  list(options?: HypervisorCallOptions): Promise<readonly VmOnNode[]>
  /** What runs the VMs, with its version, such as `libvirt 9.0.0`. */
  version(options?: HypervisorCallOptions): Promise<string>
  /** Of the VM's QEMU; undefined when there is none (any more). */
  pidOf(name: string): Promise<number | undefined>
  /** The VM was there a moment ago, as others than the hypervisor say: `onStopped` tells of its end, too, whenever it is known. */
  expect(name: string): void
  /** Once for every VM that stops, whoever stopped it. Returns the removal. */
  onStopped(listener: (vm: StoppedVm) => void): () => void
  /** When the connection is lost, and when it is back and `onStopped` has told of what vanished meanwhile. Returns the removal. */
  onReachability(listener: (state: Reachability) => void): () => void
  /** Ends the connection; VMs live on. Never rejects. */
  close(): Promise<void>
}

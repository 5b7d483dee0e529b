// The contract of a connection to libvirt: what callers may ask, and what they get when it fails.
import type { VmrmError } from '../errors/vmrm-error.ts'
import type { Log } from '../log.ts'
import type { CallOptions } from './call.ts'
import type {
  DomainCreateFlag,
  DomainLifecycleEvent,
  DomainRef,
  DomainSaveFlag,
  DomainState,
  DomainXmlFlag,
} from './protocol.ts'

export interface ConnectOptions {
  /** libvirtd's (or virtqemud's) read-write socket. */
  readonly socketPath: string
  /** Such as `qemu:///system`. */
  readonly uri: string
  readonly log: Log
  /** Ends the connecting; afterwards it has no effect. */
  readonly signal?: AbortSignal
  /** Default deadline of each call, and of connecting; default 30,000. */
  readonly callTimeoutMs?: number
  /** Silence after which libvirtd is pinged; default 5,000. */
  readonly keepAliveIntervalMs?: number
  /** Pings without an answer before the connection counts as lost, one interval later; default 5. */
  readonly keepAliveMaxUnanswered?: number
  /** Calls with libvirtd at a time; the rest wait. Default 4: with libvirtd's default max_client_requests of 5 more would stop it from reading. */
  readonly maxCallsInFlight?: number
  /** The longest packet that is accepted; default: the protocol's limit of 32 MiB. */
  readonly maxPacketBytes?: number
}

export interface LifecycleEvent {
  readonly domain: DomainRef
  readonly event: DomainLifecycleEvent
  /** libvirt's detail number of that event, such as 1 (destroyed) or 2 (crashed) for `stopped`. */
  readonly detail: number
}

export interface DomainInfo {
  readonly cpuTimeNs: bigint
  readonly memoryKib: number
  readonly maxMemoryKib: number
  readonly vcpus: number
}

export interface VcpuPin {
  readonly vcpu: number
  /** Host CPUs the vCPU may run on; at least one, each below `hostCpus`. */
  readonly cpus: readonly number[]
  readonly hostCpus: number
}

export interface SaveOptions extends CallOptions {
  readonly flags?: readonly DomainSaveFlag[]
  /** Domain XML to use instead of the domain's own (the ABI must be the same). */
  readonly xml?: string | undefined
}

/**
 * One connection. Calls may be made at the same time and then have no order among them: libvirtd does not keep one.
 * Each rejects with: LibvirtError (libvirt's answer), `libvirt-timeout` (it may still happen), `libvirt-unreachable` (the
 * connection is lost, or closed: whether it happened is unknown), `message-invalid`, or the reason of its signal.
 * After `libvirt-unreachable` the connection is of no more use; make a new one.
 */
export interface LibvirtConnection {
  /** major * 1,000,000 + minor * 1,000 + release. */
  libVersion(options?: CallOptions): Promise<number>
  hostname(options?: CallOptions): Promise<string>
  /** XML. */
  capabilities(options?: CallOptions): Promise<string>
  /** Starts a transient domain. */
  createXml(xml: string, flags: readonly DomainCreateFlag[], options?: CallOptions): Promise<DomainRef>
  /** No such domain is undefined. */
  lookupByName(name: string, options?: CallOptions): Promise<DomainRef | undefined>
  /** The active ones. */
  listDomains(options?: CallOptions): Promise<readonly DomainRef[]>
  state(domain: DomainRef, options?: CallOptions): Promise<{ state: DomainState; reason: number }>
  xml(domain: DomainRef, flags?: readonly DomainXmlFlag[], options?: CallOptions): Promise<string>
  info(domain: DomainRef, options?: CallOptions): Promise<DomainInfo>
  /**
   * Power off at once. A domain that is gone or inactive is `not-running`, so doing it again is safe. Just after its own restart
   * libvirt 9.0 may answer so although it was this call that ended the domain: either way the domain is gone.
   */
  destroy(domain: DomainRef, options?: CallOptions): Promise<'destroyed' | 'not-running'>
  /** Asks the guest; resolves when it was asked, not when it is off. */
  shutdown(domain: DomainRef, options?: CallOptions): Promise<void>
  suspend(domain: DomainRef, options?: CallOptions): Promise<void>
  resume(domain: DomainRef, options?: CallOptions): Promise<void>
  pinVcpu(domain: DomainRef, pin: VcpuPin, options?: CallOptions): Promise<void>
  /** Saves memory and state to a file of libvirtd's host and stops the domain. Default deadline 10 minutes. */
  save(domain: DomainRef, path: string, options?: SaveOptions): Promise<void>
  /** Starts a domain from such a file. Default deadline 10 minutes. */
  restore(path: string, options?: SaveOptions): Promise<void>
  /** A QMP command and its answer, both JSON text. It taints the domain. */
  qemuMonitorCommand(domain: DomainRef, json: string, options?: CallOptions): Promise<string>
  /** Every domain's lifecycle, in the order libvirt sent it. Events before the first listener are lost. Returns the removal. */
  onLifecycle(listener: (event: LifecycleEvent) => void): () => void
  /** Once, when the connection is lost (at once where it was lost before); not for `close`. Returns the removal. */
  onClose(listener: (reason: VmrmError) => void): () => void
  /** Calls under way fail. Returns when libvirtd has answered the goodbye, at most 2 s later. Never rejects; again is safe. */
  close(): Promise<void>
}

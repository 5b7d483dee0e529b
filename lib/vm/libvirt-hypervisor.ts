// The hypervisor port over libvirt's QEMU driver. It touches a domain only if its UUID is the one of a VM of this cluster.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { VmrmError } from '../errors/vmrm-error.ts'
import {
  connectLibvirt,
  type DomainRef,
  type DomainState,
  isNoDomain,
  type LibvirtConnection,
  LibvirtError,
  type LifecycleEvent,
} from '../libvirt/index.ts'
import type { Log } from '../log.ts'
import { loadClone, saveTemplate } from './cloning.ts'
import { parseVmrmMetadata } from './domain-metadata.ts'
import { domainUuid } from './domain-uuid.ts'
import { type DomainSpec, renderDomainXml } from './domain-xml.ts'
import type { Hypervisor, HypervisorCallOptions, Reachability, StoppedVm, StopReason, VmOnNode } from './hypervisor.ts'
import { LastingConnection, type LastingConnectionOptions } from './lasting-connection.ts'
import { Listeners } from './listeners.ts'
import { stateSocketPath } from './state-transfer.ts'

export interface LibvirtHypervisorOptions {
  readonly socketPath: string
  /** Such as `qemu:///system`. */
  readonly uri: string
  /** Where libvirt keeps NAME.pid, such as `/run/libvirt/qemu`. */
  readonly pidFolder: string
  /** Where libvirt keeps NAME.log, what a QEMU has said; default `/var/log/libvirt/qemu`. */
  readonly logFolder?: string
  /** Part of every VM's UUID. */
  readonly cluster: string
  readonly log: Log
  /** Default 100. */
  readonly firstPauseMs?: number
  /** Default 5,000. */
  readonly longestPauseMs?: number
  /** How long a call waits for a connection that is being renewed; default 5,000. */
  readonly graceMs?: number
}

/** Details of libvirt's `stopped` event (virDomainEventStoppedDetailType); libvirt 9.0 calls a QEMU that was killed `failed` (5). */
const stopReasons: readonly StopReason[] = ['shutdown', 'destroyed', 'crashed', 'other', 'other', 'crashed', 'other']
/** Detail of libvirt's `crashed` event. */
const panickedDetail = 0
/** Detail of libvirt's `suspended` event: QEMU pauses a guest whose write finds no room (its default, werror=enospc). */
const ioErrorDetail = 2

/** Connects in the background; returns at once. */
export function createLibvirtHypervisor(options: LibvirtHypervisorOptions): Hypervisor {
  return new LibvirtHypervisor(options)
}

class LibvirtHypervisor implements Hypervisor {
  readonly #options: LibvirtHypervisorOptions
  readonly #connection: LastingConnection
  /** Starts have a connection of their own: each keeps one of its few places for long, and a resume must not wait for that. */
  readonly #starts: LastingConnection
  readonly #stopped: Listeners<StoppedVm>
  readonly #reachability: Listeners<Reachability>
  /** Names of VMs that are there as far as we know: what is missing after a reconnection has vanished. */
  readonly #known = new Set<string>()
  readonly #panicked = new Set<string>()
  /** VMs that were told of as stopped although their QEMU is still there. */
  readonly #stuck = new Set<string>()
  /** Of VMs that were started with memory in a file, until they have stopped. */
  readonly #withMemory = new Map<string, { readonly socketPath: string; readonly owner: DomainSpec['owner'] }>()

  constructor(options: LibvirtHypervisorOptions) {
    const { log } = options
    this.#options = options
    this.#stopped = new Listeners(log)
    this.#reachability = new Listeners(log)
    this.#connection = this.#connect({
      onConnected: (connection) => this.#catchUp(connection),
      onReachability: (state) => this.#reachability.tell(state),
    })
    this.#starts = this.#connect({ onConnected: async () => {}, onReachability: () => {} })
  }

  get reachability(): Reachability {
    return this.#connection.reachability
  }

  async startPaused(spec: DomainSpec, { signal }: HypervisorCallOptions = {}): Promise<void> {
    const connection = await this.#starts.get(signal)
    if (spec.memory !== undefined)
      this.#withMemory.set(spec.name, { socketPath: stateSocketPath(spec.agentSocketPath), owner: spec.owner })
    try {
      await connection.createXml(renderDomainXml(spec), ['paused'], { signal })
    } catch (cause) {
      if (!(cause instanceof LibvirtError)) throw cause
      const text = `VM ${spec.name} could not be started: ${cause.libvirtWords}`
      throw new VmrmError('vm-start-failed', text, { cause })
    }
  }

  async saveTemplate(name: string, statePath: string, { signal }: HypervisorCallOptions = {}): Promise<void> {
    const { owner, ...step } = await this.#stepOf(name, 'template-failed', signal)
    await saveTemplate({ ...step, statePath }, owner)
  }

  async load(name: string, statePath: string, { signal }: HypervisorCallOptions = {}): Promise<void> {
    const { owner: _, ...step } = await this.#stepOf(name, 'vm-start-failed', signal)
    await loadClone({ ...step, statePath })
  }

  async resume(name: string, { signal }: HypervisorCallOptions = {}): Promise<void> {
    const connection = await this.#connection.get(signal)
    const domain = await this.#find(connection, name, signal)
    const lost = (cause?: unknown) => new VmrmError('vm-lost', `The VM ${name} is no longer there.`, { cause })
    if (domain === undefined) throw lost()
    try {
      await connection.resume(domain, { signal })
    } catch (cause) {
      if (isNoDomain(cause)) throw lost(cause)
      if (!(cause instanceof LibvirtError)) throw cause
      const { state } = await connection.state(domain, { signal })
      if (!isRunning(state)) throw cause
    }
  }

  async destroy(name: string, { signal }: HypervisorCallOptions = {}): Promise<'destroyed' | 'not-running'> {
    const connection = await this.#connection.get(signal)
    const domain = await this.#find(connection, name, signal)
    return domain === undefined ? 'not-running' : connection.destroy(domain, { signal })
  }

  async list({ signal }: HypervisorCallOptions = {}): Promise<readonly VmOnNode[]> {
    return this.#list(await this.#connection.get(signal), signal)
  }

  async version({ signal }: HypervisorCallOptions = {}): Promise<string> {
    const version = await (await this.#connection.get(signal)).libVersion({ signal })
    return `libvirt ${Math.floor(version / 1_000_000)}.${Math.floor(version / 1000) % 1000}.${version % 1000}`
  }

  async pidOf(name: string): Promise<number | undefined> {
    if (!/^[A-Za-z0-9_-]+$/.test(name)) return undefined
    const text = await readFile(join(this.#options.pidFolder, `${name}.pid`), 'utf8').catch(() => '')
    return /^[1-9]\d{0,9}\n?$/.test(text) ? Number(text) : undefined
  }

  expect(name: string): void {
    if (this.#known.has(name)) return
    // What is there is known since the connection was made.
    if (this.reachability === 'reachable') this.#tellStopped(name, 'vanished')
    else this.#known.add(name)
  }

  onStopped(listener: (vm: StoppedVm) => void): () => void {
    return this.#stopped.add(listener)
  }

  onReachability(listener: (state: Reachability) => void): () => void {
    return this.#reachability.add(listener)
  }

  async close(): Promise<void> {
    await Promise.all([this.#connection.close(), this.#starts.close()])
  }

  #connect(listeners: Pick<LastingConnectionOptions, 'onConnected' | 'onReachability'>): LastingConnection {
    const { log, socketPath, uri, firstPauseMs = 100, longestPauseMs = 5_000, graceMs = 5_000 } = this.#options
    const connect = (signal: AbortSignal) => connectLibvirt({ socketPath, uri, log, signal })
    return new LastingConnection({ connect, log, firstPauseMs, longestPauseMs, graceMs, ...listeners })
  }

  async #stepOf(name: string, code: 'template-failed' | 'vm-start-failed', signal: AbortSignal | undefined) {
    const connection = await this.#connection.get(signal)
    const domain = await this.#find(connection, name, signal)
    const known = this.#withMemory.get(name)
    if (domain === undefined || known === undefined)
      throw new VmrmError(code, `There is no VM ${name} with memory in a file.`)
    return { connection, domain, ...known, logFolder: this.#options.logFolder ?? '/var/log/libvirt/qemu', signal }
  }

  #isOurs(domain: DomainRef): boolean {
    return domain.uuid === domainUuid({ cluster: this.#options.cluster, vm: domain.name })
  }

  async #find(connection: LibvirtConnection, name: string, signal: AbortSignal | undefined) {
    const domain = await connection.lookupByName(name, { signal })
    return domain !== undefined && this.#isOurs(domain) ? domain : undefined
  }

  async #list(connection: LibvirtConnection, signal?: AbortSignal): Promise<readonly VmOnNode[]> {
    const domains = (await connection.listDomains({ signal })).filter((domain) => this.#isOurs(domain))
    const vms = await Promise.all(domains.map((domain) => describe(connection, domain, signal)))
    return vms.filter((vm) => vm !== undefined)
  }

  /** Listens first and looks then, so that nothing can stop unseen in between. */
  async #catchUp(connection: LibvirtConnection): Promise<void> {
    connection.onLifecycle((event) => this.#onLifecycle(event))
    const present = new Set((await this.#list(connection)).map((vm) => vm.name))
    for (const name of [...this.#known]) if (!present.has(name)) this.#tellStopped(name, 'vanished')
    for (const name of present) this.#known.add(name)
  }

  #onLifecycle({ domain, event, detail }: LifecycleEvent): void {
    if (!this.#isOurs(domain)) return
    if (event === 'started') this.#known.add(domain.name)
    if (event === 'crashed' && detail === panickedDetail) this.#panicked.add(domain.name)
    if (event === 'suspended' && detail === ioErrorDetail && !this.#stuck.has(domain.name)) {
      this.#tellStopped(domain.name, 'io-error')
      this.#stuck.add(domain.name)
    }
    if (event !== 'stopped' || this.#stuck.delete(domain.name)) return
    this.#tellStopped(domain.name, this.#panicked.has(domain.name) ? 'panicked' : (stopReasons[detail] ?? 'other'))
  }

  #tellStopped(name: string, reason: StopReason): void {
    this.#known.delete(name)
    this.#withMemory.delete(name)
    this.#panicked.delete(name)
    this.#options.log.info('vm.stopped', { vm: name, reason })
    this.#stopped.tell({ name, reason })
  }
}

const isRunning = (state: DomainState) => state === 'running' || state === 'blocked'

/** Undefined for a domain that ends meanwhile. */
async function describe(
  connection: LibvirtConnection,
  domain: DomainRef,
  signal: AbortSignal | undefined,
): Promise<VmOnNode | undefined> {
  try {
    const [{ state }, xml] = await Promise.all([
      connection.state(domain, { signal }),
      connection.xml(domain, [], { signal }),
    ])
    const metadata = parseVmrmMetadata(xml)
    if (metadata === undefined || state === 'shut-off' || state === 'crashed') return undefined
    const simple = isRunning(state) ? 'running' : state === 'paused' ? 'paused' : 'stopping'
    return { name: domain.name, state: simple, metadata }
  } catch (error) {
    if (isNoDomain(error)) return undefined
    throw error
  }
}

// A hypervisor in memory that keeps the port's contract, for tests of what stands on it. Nothing outside the process changes.
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { silentLog } from '../../lib/log.ts'
import { type DomainSpec, renderDomainXml } from '../../lib/vm/domain-xml.ts'
import type {
  Hypervisor,
  HypervisorCallOptions,
  Reachability,
  StoppedVm,
  StopReason,
  VmOnNode,
} from '../../lib/vm/hypervisor.ts'
import { Listeners } from '../../lib/vm/listeners.ts'

interface FakeVm {
  readonly spec: DomainSpec
  readonly pid: number
  state: 'running' | 'paused'
}

export class FakeHypervisor implements Hypervisor {
  readonly #vms = new Map<string, FakeVm>()
  readonly #stopped = new Listeners<StoppedVm>(silentLog)
  readonly #reachability = new Listeners<Reachability>(silentLog)
  readonly #refusals = new Map<string, Error>()
  #state: Reachability = 'reachable'
  #gate: Promise<void> = Promise.resolve()
  #vanished: string[] = []
  #nextPid = 1_000_000
  /** Every call that was carried out, such as `start j1r0v0`. */
  readonly calls: string[] = []

  get reachability(): Reachability {
    return this.#state
  }

  async startPaused(spec: DomainSpec, options?: HypervisorCallOptions): Promise<void> {
    await this.#enter(`start ${spec.name}`, options)
    renderDomainXml(spec) // what cannot be rendered cannot be started
    const refusal = this.#refusals.get(spec.name)
    if (refusal !== undefined) throw refusal
    if (this.#vms.has(spec.name)) {
      throw new VmrmError('vm-start-failed', `VM ${spec.name} could not be started: it exists already`)
    }
    this.#vms.set(spec.name, { spec, pid: this.#nextPid++, state: 'paused' })
  }

  async resume(name: string, options?: HypervisorCallOptions): Promise<void> {
    await this.#enter(`resume ${name}`, options)
    const vm = this.#vms.get(name)
    if (vm === undefined) throw new VmrmError('vm-lost', `The VM ${name} is no longer there.`)
    vm.state = 'running'
  }

  async destroy(name: string, options?: HypervisorCallOptions): Promise<'destroyed' | 'not-running'> {
    await this.#enter(`destroy ${name}`, options)
    return this.stop(name, 'destroyed') ? 'destroyed' : 'not-running'
  }

  async list(options?: HypervisorCallOptions): Promise<readonly VmOnNode[]> {
    await this.#enter('list', options)
    return [...this.#vms.values()].map(({ spec, state }) => ({ name: spec.name, state, metadata: spec.metadata }))
  }

  async pidOf(name: string): Promise<number | undefined> {
    return this.#vms.get(name)?.pid
  }

  onStopped(listener: (vm: StoppedVm) => void): () => void {
    return this.#stopped.add(listener)
  }

  onReachability(listener: (state: Reachability) => void): () => void {
    return this.#reachability.add(listener)
  }

  async close(): Promise<void> {
    this.#state = 'unreachable'
  }

  /** The spec of a VM that exists. */
  specOf(name: string): DomainSpec | undefined {
    return this.#vms.get(name)?.spec
  }

  /** The VM ends by itself; false when there is none. */
  stop(name: string, reason: StopReason): boolean {
    if (!this.#vms.delete(name)) return false
    if (this.#state === 'reachable') this.#stopped.tell({ name, reason })
    else this.#vanished.push(name)
    return true
  }

  /** Starting that VM fails from now on; undefined: no longer. */
  refuseStart(name: string, error: Error | undefined): void {
    if (error === undefined) this.#refusals.delete(name)
    else this.#refusals.set(name, error)
  }

  /** Calls wait until the returned function is called. */
  hold(): () => void {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#gate = promise
    return resolve
  }

  disconnect(): void {
    this.#state = 'unreachable'
    this.#reachability.tell('unreachable')
  }

  reconnect(): void {
    this.#state = 'reachable'
    for (const name of this.#vanished.splice(0)) this.#stopped.tell({ name, reason: 'vanished' })
    this.#reachability.tell('reachable')
  }

  async #enter(call: string, { signal }: HypervisorCallOptions = {}): Promise<void> {
    signal?.throwIfAborted()
    const aborted = Promise.withResolvers<never>()
    const onAbort = () => aborted.reject(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      await Promise.race([this.#gate, aborted.promise])
    } finally {
      signal?.removeEventListener('abort', onAbort)
    }
    if (this.#state === 'unreachable') {
      throw new VmrmError('libvirt-unreachable', `libvirt on this node cannot be reached: the fake is disconnected`)
    }
    this.calls.push(call)
  }
}

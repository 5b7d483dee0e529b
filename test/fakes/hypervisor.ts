// A hypervisor in memory that keeps the port's contract, for tests of what stands on it. Outside the process only the files
// of a template change, as they do with QEMU.
import assert from 'node:assert/strict'
import { readFile, stat, truncate, writeFile } from 'node:fs/promises'
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
  /** A clone that has its template's state, or no clone. */
  isWhole: boolean
}

export class FakeHypervisor implements Hypervisor {
  readonly #vms = new Map<string, FakeVm>()
  readonly #stopped = new Listeners<StoppedVm>(silentLog)
  readonly #reachability = new Listeners<Reachability>(silentLog)
  readonly #refusals = new Map<string, Error>()
  readonly #loadRefusals = new Set<string>()
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
    const { memory } = spec
    if (memory !== undefined) await requireMemory(spec)
    this.#vms.set(spec.name, { spec, pid: this.#nextPid++, state: 'paused', isWhole: memory?.kind !== 'clone' })
  }

  async saveTemplate(name: string, statePath: string, options?: HypervisorCallOptions): Promise<void> {
    await this.#enter(`save-template ${name}`, options)
    const spec = this.specOf(name)
    if (spec?.memory?.kind !== 'template')
      throw new VmrmError('template-failed', `There is no VM ${name} with memory in a file.`)
    const refusal = this.#refusals.get(name)
    if (refusal !== undefined) throw refusal
    await writeFile(statePath, stateOf(spec), { flag: 'wx', mode: 0o600 })
    this.stop(name, 'destroyed')
  }

  async load(name: string, statePath: string, options?: HypervisorCallOptions): Promise<void> {
    await this.#enter(`load ${name}`, options)
    const vm = this.#vms.get(name)
    if (vm?.spec.memory?.kind !== 'clone')
      throw new VmrmError('vm-start-failed', `There is no VM ${name} with memory in a file.`)
    const state = await readFile(statePath, 'utf8').catch(() => 'nothing')
    if (vm.isWhole || state !== stateOf(vm.spec) || this.#loadRefusals.has(name)) {
      this.stop(name, 'crashed')
      throw new VmrmError('vm-start-failed', `VM ${name} could not be started as a clone: the fake QEMU ended`)
    }
    vm.isWhole = true
  }

  async resume(name: string, options?: HypervisorCallOptions): Promise<void> {
    await this.#enter(`resume ${name}`, options)
    const vm = this.#vms.get(name)
    if (vm === undefined) throw new VmrmError('vm-lost', `The VM ${name} is no longer there.`)
    assert(vm.isWhole, `${name} is a clone without its state`)
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

  async version(options?: HypervisorCallOptions): Promise<string> {
    await this.#enter('version', options)
    return 'fake 1.0.0'
  }

  async pidOf(name: string): Promise<number | undefined> {
    return this.#vms.get(name)?.pid
  }

  expect(name: string): void {
    if (this.#vms.has(name)) return
    if (this.#state === 'reachable') this.#stopped.tell({ name, reason: 'vanished' })
    else this.#vanished.push(name)
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

  stateOf(name: string): 'running' | 'paused' | undefined {
    return this.#vms.get(name)?.state
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

  /** The VM's QEMU ends while it loads its template's state, from now on; false: no longer. */
  refuseLoad(name: string, isRefused: boolean): void {
    if (isRefused) this.#loadRefusals.add(name)
    else this.#loadRefusals.delete(name)
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

/** What must be the same for a clone to take a template's state. */
function stateOf({ vcpus, memoryMib, seedPath }: DomainSpec): string {
  return JSON.stringify({ vcpus, memoryMib, hasSeed: seedPath !== undefined })
}

/** QEMU takes a file that is empty, which it makes as large as the memory, or one that is large enough. */
async function requireMemory({ name, memory, memoryMib }: DomainSpec): Promise<void> {
  const path = memory?.path ?? ''
  const bytes = memoryMib * 1024 * 1024
  const found = await stat(path).catch(() => undefined)
  if (found === undefined || (found.size > 0 && found.size < bytes))
    throw new VmrmError('vm-start-failed', `VM ${name} could not be started: its memory cannot be in ${path}`)
  if (found.size === 0) await truncate(path, bytes)
}

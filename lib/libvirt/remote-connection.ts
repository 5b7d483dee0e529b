// The calls of a connection, each put into libvirt's terms. It never keeps state about a domain: libvirt is the truth.
import assert from 'node:assert/strict'
import type { VmrmError } from '../errors/vmrm-error.ts'
import type { CallOptions } from './call.ts'
import type { Channel } from './channel.ts'
import type { DomainInfo, LibvirtConnection, LifecycleEvent, SaveOptions, VcpuPin } from './connection.ts'
import { isNoDomain, LibvirtError } from './libvirt-error.ts'
import type { LifecycleListeners } from './lifecycle-listeners.ts'
import {
  createFlags,
  type DomainCreateFlag,
  type DomainRef,
  type DomainState,
  type DomainXmlFlag,
  domainStates,
  libvirtErrorCodes,
  listFlags,
  type Procedure,
  procedures,
  saveFlags,
  xmlFlags,
} from './protocol.ts'

const closeTimeoutMs = 2_000
/** Writing gigabytes of memory to a disk takes its time. */
const saveTimeoutMs = 600_000

function combineFlags<Flag extends string>(
  table: Readonly<Record<Flag, number>>,
  flags: readonly Flag[] | undefined,
): number {
  return (flags ?? []).reduce((bits, flag) => bits | table[flag], 0)
}

/** libvirt's CPU map: bit n of byte n/8, low bits first; bytes enough for every CPU of the host. */
export function cpumap(cpus: readonly number[], hostCpus: number): Buffer {
  assert(cpus.length > 0, 'a vCPU needs at least one CPU')
  const map = Buffer.alloc(Math.ceil(hostCpus / 8))
  for (const cpu of cpus) {
    assert(Number.isInteger(cpu) && cpu >= 0 && cpu < hostCpus, `CPU ${cpu} of a host that has ${hostCpus}`)
    const index = cpu >> 3
    map[index] = (map[index] ?? 0) | (1 << (cpu & 7))
  }
  return map
}

export class RemoteConnection implements LibvirtConnection {
  readonly #channel: Channel
  readonly #lifecycle: LifecycleListeners
  #closing: Promise<void> | undefined

  constructor(channel: Channel, lifecycle: LifecycleListeners) {
    this.#channel = channel
    this.#lifecycle = lifecycle
  }

  async libVersion(options?: CallOptions): Promise<number> {
    const action = 'say its version'
    return (await this.#channel.call(procedures.getLibVersion, undefined, { ...options, action })).version
  }

  async hostname(options?: CallOptions): Promise<string> {
    const action = 'say its hostname'
    return (await this.#channel.call(procedures.getHostname, undefined, { ...options, action })).hostname
  }

  async capabilities(options?: CallOptions): Promise<string> {
    const action = 'say its capabilities'
    return (await this.#channel.call(procedures.getCapabilities, undefined, { ...options, action })).xml
  }

  async createXml(xml: string, flags: readonly DomainCreateFlag[], options?: CallOptions): Promise<DomainRef> {
    const args = { xml, flags: combineFlags(createFlags, flags) }
    return (await this.#channel.call(procedures.createXml, args, { ...options, action: 'create a domain' })).dom
  }

  async lookupByName(name: string, options?: CallOptions): Promise<DomainRef | undefined> {
    const action = `look up domain ${name}`
    try {
      return (await this.#channel.call(procedures.lookupByName, { name }, { ...options, action })).dom
    } catch (error) {
      if (isNoDomain(error)) return undefined
      throw error
    }
  }

  async listDomains(options?: CallOptions): Promise<readonly DomainRef[]> {
    const args = { needResults: 1, flags: listFlags.active }
    return (await this.#channel.call(procedures.listAllDomains, args, { ...options, action: 'list its domains' }))
      .domains
  }

  async state(domain: DomainRef, options?: CallOptions): Promise<{ state: DomainState; reason: number }> {
    const action = `say the state of domain ${domain.name}`
    const reply = await this.#channel.call(procedures.getState, { dom: domain, flags: 0 }, { ...options, action })
    return { state: domainStates[reply.state] ?? 'unknown', reason: reply.reason }
  }

  async xml(domain: DomainRef, flags?: readonly DomainXmlFlag[], options?: CallOptions): Promise<string> {
    const args = { dom: domain, flags: combineFlags(xmlFlags, flags) }
    const action = `say the XML of domain ${domain.name}`
    return (await this.#channel.call(procedures.getXml, args, { ...options, action })).xml
  }

  async info(domain: DomainRef, options?: CallOptions): Promise<DomainInfo> {
    const action = `say what domain ${domain.name} uses`
    const { state: _, ...info } = await this.#channel.call(procedures.getInfo, { dom: domain }, { ...options, action })
    return info
  }

  async destroy(domain: DomainRef, options?: CallOptions): Promise<'destroyed' | 'not-running'> {
    try {
      await this.#onDomain(procedures.destroy, domain, 'destroy', options)
      return 'destroyed'
    } catch (error) {
      if (isNoDomain(error)) return 'not-running'
      // "Operation invalid" has more than one cause: only the state tells whether the domain is off.
      const isInvalid = error instanceof LibvirtError && error.libvirtCode === libvirtErrorCodes.operationInvalid
      if (isInvalid && (await this.#isOff(domain, options))) return 'not-running'
      throw error
    }
  }

  async shutdown(domain: DomainRef, options?: CallOptions): Promise<void> {
    await this.#onDomain(procedures.shutdown, domain, 'shut down', options)
  }

  async suspend(domain: DomainRef, options?: CallOptions): Promise<void> {
    await this.#onDomain(procedures.suspend, domain, 'suspend', options)
  }

  async resume(domain: DomainRef, options?: CallOptions): Promise<void> {
    await this.#onDomain(procedures.resume, domain, 'resume', options)
  }

  async pinVcpu(domain: DomainRef, pin: VcpuPin, options?: CallOptions): Promise<void> {
    const args = { dom: domain, vcpu: pin.vcpu, cpumap: cpumap(pin.cpus, pin.hostCpus) }
    const action = `pin vCPU ${pin.vcpu} of domain ${domain.name} to CPUs ${pin.cpus.join(',')}`
    await this.#channel.call(procedures.pinVcpu, args, { ...options, action })
  }

  async save(domain: DomainRef, path: string, options: SaveOptions = {}): Promise<void> {
    const { flags, xml, ...rest } = options
    const args = { dom: domain, path, xml, flags: combineFlags(saveFlags, flags) }
    const action = `save domain ${domain.name} to ${path}`
    await this.#channel.call(procedures.saveFlags, args, { timeoutMs: saveTimeoutMs, ...rest, action })
  }

  async restore(path: string, options: SaveOptions = {}): Promise<void> {
    const { flags, xml, ...rest } = options
    const args = { path, xml, flags: combineFlags(saveFlags, flags) }
    const action = `restore a domain from ${path}`
    await this.#channel.call(procedures.restoreFlags, args, { timeoutMs: saveTimeoutMs, ...rest, action })
  }

  async qemuMonitorCommand(domain: DomainRef, json: string, options?: CallOptions): Promise<string> {
    const args = { dom: domain, command: json, flags: 0 }
    const action = `pass a monitor command to domain ${domain.name}`
    return (await this.#channel.call(procedures.monitorCommand, args, { ...options, action })).result
  }

  onLifecycle(listener: (event: LifecycleEvent) => void): () => void {
    return this.#lifecycle.add(listener)
  }

  onClose(listener: (reason: VmrmError) => void): () => void {
    return this.#channel.onClose(listener)
  }

  close(): Promise<void> {
    this.#closing ??= this.#sayGoodbye()
    return this.#closing
  }

  async #onDomain(
    procedure: Procedure<{ readonly dom: DomainRef }, undefined>,
    domain: DomainRef,
    verb: string,
    options: CallOptions | undefined,
  ): Promise<void> {
    await this.#channel.call(procedure, { dom: domain }, { ...options, action: `${verb} domain ${domain.name}` })
  }

  async #isOff(domain: DomainRef, options: CallOptions | undefined): Promise<boolean> {
    try {
      return (await this.state(domain, options)).state === 'shut-off'
    } catch (error) {
      if (isNoDomain(error)) return true
      throw error
    }
  }

  async #sayGoodbye(): Promise<void> {
    const goodbye = { action: 'close the connection', timeoutMs: closeTimeoutMs }
    // Whatever it answers, the connection ends; libvirtd takes a closed socket for a goodbye too.
    await this.#channel.call(procedures.connectClose, undefined, goodbye).catch(() => undefined)
    this.#channel.close()
  }
}

// The fake's domains: what exists, in which state, saved where. Shared by all its clients, as in a real libvirtd.
import { randomUUID } from 'node:crypto'
import { type DomainRef, type domainStates, libvirtErrorCodes, lifecycleEvents } from '../../../lib/libvirt/protocol.ts'

/** What a libvirtd answers instead of a result. */
export class FakeRefusal extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.code = code
  }
}

export interface FakeDomain {
  ref: DomainRef
  state: (typeof domainStates)[number]
  reason: number
  readonly xml: string
  readonly vcpus: number
  readonly memoryKib: number
  readonly pins: Map<number, Buffer>
  /** The client with whom the domain dies. */
  readonly owner: object | undefined
}

export type Announce = (domain: DomainRef, event: number, detail: number) => void

const eventNumber = (event: (typeof lifecycleEvents)[number]): number => lifecycleEvents.indexOf(event)

export class FakeDomains {
  readonly #active = new Map<string, FakeDomain>()
  readonly #saved = new Map<string, FakeDomain>()
  readonly #announce: Announce
  #lastId = 0

  constructor(announce: Announce) {
    this.#announce = announce
  }

  list(): DomainRef[] {
    return [...this.#active.values()].map((domain) => domain.ref)
  }

  create(xml: string, shape: { isPaused: boolean; owner: object | undefined }): FakeDomain {
    const name = /<name>([^<]+)<\/name>/.exec(xml)?.[1]
    if (name === undefined) throw new FakeRefusal(libvirtErrorCodes.xmlError, 'missing name information')
    if (this.list().some((ref) => ref.name === name))
      throw new FakeRefusal(libvirtErrorCodes.operationFailed, `domain '${name}' already exists`)
    const domain: FakeDomain = {
      ref: { name, uuid: randomUUID(), id: 0 },
      state: 'running',
      reason: 1,
      xml,
      vcpus: Number(/<vcpu[^>]*>(\d+)</.exec(xml)?.[1] ?? 1),
      memoryKib: Number(/<memory[^>]*>(\d+)</.exec(xml)?.[1] ?? 0) * 1024,
      pins: new Map(),
      owner: shape.owner,
    }
    this.#start(domain, shape.isPaused, 0)
    return domain
  }

  byName(name: string): FakeDomain {
    return this.#found(
      [...this.#active.values()].find((domain) => domain.ref.name === name),
      name,
    )
  }

  byRef(ref: DomainRef): FakeDomain {
    return this.#found(this.#active.get(ref.uuid), ref.name)
  }

  suspend(ref: DomainRef): void {
    const domain = this.byRef(ref)
    if (domain.state === 'paused') return
    Object.assign(domain, { state: 'paused', reason: 1 })
    this.#announce(domain.ref, eventNumber('suspended'), 0)
  }

  resume(ref: DomainRef): void {
    const domain = this.byRef(ref)
    if (domain.state === 'running')
      throw new FakeRefusal(libvirtErrorCodes.operationInvalid, 'domain is already running')
    Object.assign(domain, { state: 'running', reason: 5 })
    this.#announce(domain.ref, eventNumber('resumed'), 0)
  }

  /** `detail`: 0 shutdown, 1 destroyed, 2 crashed, 4 saved. */
  stop(ref: DomainRef, detail: number): void {
    const domain = this.byRef(ref)
    this.#active.delete(ref.uuid)
    this.#announce({ ...domain.ref, id: -1 }, eventNumber('stopped'), detail)
  }

  save(ref: DomainRef, path: string): void {
    this.#saved.set(path, this.byRef(ref))
    this.stop(ref, 4)
  }

  restore(path: string, isPaused: boolean): void {
    const domain = this.#saved.get(path)
    if (domain === undefined) throw new FakeRefusal(libvirtErrorCodes.operationFailed, `no saved domain in '${path}'`)
    if (this.#active.has(domain.ref.uuid)) throw new FakeRefusal(libvirtErrorCodes.operationInvalid, 'already active')
    this.#start(domain, isPaused, 2)
  }

  /** What libvirtd does when a client goes. */
  ownerGone(owner: object): void {
    for (const domain of [...this.#active.values()]) if (domain.owner === owner) this.stop(domain.ref, 1)
  }

  #start(domain: FakeDomain, isPaused: boolean, detail: number): void {
    domain.ref = { ...domain.ref, id: ++this.#lastId }
    Object.assign(domain, isPaused ? { state: 'paused', reason: 1 } : { state: 'running', reason: 1 })
    this.#active.set(domain.ref.uuid, domain)
    this.#announce(domain.ref, eventNumber('started'), detail)
    if (isPaused) this.#announce(domain.ref, eventNumber('suspended'), 0)
  }

  #found(domain: FakeDomain | undefined, name: string): FakeDomain {
    if (domain === undefined)
      throw new FakeRefusal(libvirtErrorCodes.noDomain, `no domain with matching name '${name}'`)
    return domain
  }
}

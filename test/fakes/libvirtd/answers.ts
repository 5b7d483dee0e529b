// What the fake answers to each procedure: values only, no bytes. An unknown procedure is an error here, as it is in libvirtd.
import {
  createFlags,
  type DomainRef,
  domainStates,
  keepaliveFeature,
  libvirtErrorCodes,
  type Procedure,
  procedures,
  saveFlags,
} from '../../../lib/libvirt/protocol.ts'
import { type FakeDomains, FakeRefusal } from './domains.ts'

export interface FakeClient {
  isSubscribed: boolean
}

export interface FakeSettings {
  readonly authTypes: readonly number[]
  readonly isKeepAliveSupported: boolean
}

export type ProcedureName = keyof typeof procedures
// biome-ignore lint/suspicious/noExplicitAny: each answer checks its own arguments by the type of its procedure
type Answer = (args: any) => unknown

/** The answers for one client. */
export function answersFor(
  client: FakeClient,
  domains: FakeDomains,
  settings: FakeSettings,
): Record<ProcedureName, Answer> {
  type OnDomain = { dom: DomainRef }
  return {
    authList: () => ({ types: settings.authTypes }),
    connectOpen: () => undefined,
    connectClose: () => undefined,
    supportsFeature: (args: { feature: number }) => ({
      supported: Number(args.feature === keepaliveFeature && settings.isKeepAliveSupported),
    }),
    registerEvent: () => {
      client.isSubscribed = true
      return { callbackId: 7 }
    },
    getLibVersion: () => ({ version: 9_000_000 }),
    getHostname: () => ({ hostname: 'fake' }),
    getCapabilities: () => ({ xml: '<capabilities/>' }),
    createXml: (args: { xml: string; flags: number }) => {
      const owner = (args.flags & createFlags.autodestroy) === 0 ? undefined : client
      return { dom: domains.create(args.xml, { isPaused: (args.flags & createFlags.paused) !== 0, owner }).ref }
    },
    lookupByName: (args: { name: string }) => ({ dom: domains.byName(args.name).ref }),
    listAllDomains: () => ({ domains: domains.list(), count: domains.list().length }),
    getState: ({ dom }: OnDomain) => {
      const { state, reason } = domains.byRef(dom)
      return { state: domainStates.indexOf(state), reason }
    },
    getXml: ({ dom }: OnDomain) => ({ xml: domains.byRef(dom).xml }),
    getInfo: ({ dom }: OnDomain) => {
      const { state, memoryKib, vcpus } = domains.byRef(dom)
      return { state: domainStates.indexOf(state), maxMemoryKib: memoryKib, memoryKib, vcpus, cpuTimeNs: 2n ** 60n }
    },
    destroy: ({ dom }: OnDomain) => domains.stop(dom, 1),
    shutdown: ({ dom }: OnDomain) => domains.stop(dom, 0),
    suspend: ({ dom }: OnDomain) => domains.suspend(dom),
    resume: ({ dom }: OnDomain) => domains.resume(dom),
    pinVcpu: (args: { dom: DomainRef; vcpu: number; cpumap: Buffer }) => {
      const domain = domains.byRef(args.dom)
      if (args.vcpu >= domain.vcpus) throw new FakeRefusal(libvirtErrorCodes.invalidArgument, `no vcpu ${args.vcpu}`)
      domain.pins.set(args.vcpu, args.cpumap)
    },
    saveFlags: (args: { dom: DomainRef; path: string }) => domains.save(args.dom, args.path),
    restoreFlags: (args: { path: string; flags: number }) =>
      domains.restore(args.path, (args.flags & saveFlags.paused) !== 0),
    monitorCommand: (args: { dom: DomainRef; command: string }) => {
      const { state } = domains.byRef(args.dom)
      const { execute } = JSON.parse(args.command) as { execute: string }
      if (execute !== 'query-status') return { result: JSON.stringify({ error: { class: 'CommandNotFound' } }) }
      return { result: JSON.stringify({ return: { status: state, running: state === 'running' } }) }
    },
  }
}

/** The procedure that a header names, if the fake knows it. */
export function procedureOf(
  program: number,
  number: number,
): { name: ProcedureName; procedure: Procedure<unknown, unknown> } | undefined {
  for (const [name, procedure] of Object.entries(procedures)) {
    if (procedure.program.number === program && procedure.number === number)
      return { name: name as ProcedureName, procedure: procedure as Procedure<unknown, unknown> }
  }
  return undefined
}

// libvirt's wire protocol as a table: programs, procedures, types and numbers. Data only; nothing here may do I/O.
// Written by hand from libvirt 9.0's src/remote/remote_protocol.x, src/remote/qemu_protocol.x, src/rpc/virnetprotocol.x,
// src/rpc/virkeepaliveprotocol.x and include/libvirt/{libvirt-domain,virterror}.h. Numbers once released never change in libvirt.

import type { XdrReader, XdrWriter } from './xdr.ts'
import {
  array,
  int,
  nothing,
  opaque,
  optional,
  safeUhyper,
  string,
  struct,
  uhyper,
  uint,
  type XdrType,
  type XdrValue,
} from './xdr-type.ts'

export const programs = {
  remote: { number: 0x20008086, version: 1 },
  qemu: { number: 0x20008087, version: 1 },
  keepalive: { number: 0x6b656570, version: 1 },
} as const

export const messageTypes = { call: 0, reply: 1, message: 2, stream: 3 } as const
export const messageStatuses = { ok: 0, error: 1, continue: 2 } as const
export const keepaliveProcedures = { ping: 1, pong: 2 } as const

/** Bytes of the length word in front of a packet, and of the header behind it. */
export const lengthBytes = 4
export const headerBytes = 24
/** VIR_NET_MESSAGE_MAX and the length word: no packet is longer. */
export const maxPacketBytes = 33_554_432 + lengthBytes

const text = string(4_194_304)
const maxListedDomains = 16_384
const maxCpumapBytes = 2_048
const maxAuthTypes = 20

const hexOf = (bytes: Buffer): string => bytes.toString('hex')

/** 16 bytes on the wire, the usual text with dashes here. */
const uuid: XdrType<string> = {
  write: (writer: XdrWriter, value: string) => {
    const bytes = Buffer.from(value.replaceAll('-', ''), 'hex')
    if (bytes.length !== 16) throw new TypeError(`${value} is no UUID`)
    writer.fixedOpaque(bytes)
  },
  read: (reader: XdrReader) => {
    const hex = hexOf(reader.fixedOpaque(16))
    return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
  },
}

const domain = struct({ name: text, uuid, id: int })
/** A domain as libvirt names it: its calls find it by `uuid`; `id` is -1 when it is not active. */
export type DomainRef = XdrValue<typeof domain>

const network = struct({ name: text, uuid })

/** The payload of a reply whose status is an error. */
export const errorPayload = struct({
  code: int,
  domain: int,
  message: optional(text),
  level: int,
  dom: optional(domain),
  str1: optional(text),
  str2: optional(text),
  str3: optional(text),
  int1: int,
  int2: int,
  net: optional(network),
})

/** The event that a lifecycle registration brings. */
export const lifecyclePayload = struct({ callbackId: int, dom: domain, event: int, detail: int })
export const lifecycleEventProcedure = 318
/** VIR_DOMAIN_EVENT_ID_LIFECYCLE. */
export const lifecycleEventId = 0
/** VIR_DRV_FEATURE_PROGRAM_KEEPALIVE: asking for it makes libvirtd send pings of its own. */
export const keepaliveFeature = 10

/**
 * One procedure. `priority` is libvirt's own: `high` ones never wait for a hypervisor, so libvirtd keeps workers for them.
 */
export interface Procedure<Args, Reply> {
  readonly name: string
  readonly program: { readonly number: number; readonly version: number }
  readonly number: number
  readonly priority: 'high' | 'low'
  readonly args: XdrType<Args>
  readonly reply: XdrType<Reply>
}

type Shape = { priority: 'high' | 'low'; program?: keyof typeof programs }

function procedure<Args, Reply>(
  number: number,
  name: string,
  args: XdrType<Args>,
  reply: XdrType<Reply>,
  shape: Shape = { priority: 'low' },
): Procedure<Args, Reply> {
  return { number, name, args, reply, priority: shape.priority, program: programs[shape.program ?? 'remote'] }
}

const high: Shape = { priority: 'high' }
const onDomain = struct({ dom: domain })

export const procedures = {
  connectOpen: procedure(1, 'connect_open', struct({ uri: optional(text), flags: uint }), nothing, high),
  connectClose: procedure(2, 'connect_close', nothing, nothing, high),
  getCapabilities: procedure(7, 'connect_get_capabilities', nothing, struct({ xml: text })),
  createXml: procedure(10, 'domain_create_xml', struct({ xml: text, flags: uint }), onDomain),
  destroy: procedure(12, 'domain_destroy', onDomain, nothing, high),
  getXml: procedure(14, 'domain_get_xml_desc', struct({ dom: domain, flags: uint }), struct({ xml: text })),
  getInfo: procedure(
    16,
    'domain_get_info',
    onDomain,
    struct({ state: uint, maxMemoryKib: safeUhyper, memoryKib: safeUhyper, vcpus: uint, cpuTimeNs: uhyper }),
  ),
  lookupByName: procedure(23, 'domain_lookup_by_name', struct({ name: text }), onDomain, high),
  pinVcpu: procedure(
    26,
    'domain_pin_vcpu',
    struct({ dom: domain, vcpu: uint, cpumap: opaque(maxCpumapBytes) }),
    nothing,
  ),
  resume: procedure(28, 'domain_resume', onDomain, nothing),
  shutdown: procedure(33, 'domain_shutdown', onDomain, nothing),
  suspend: procedure(34, 'domain_suspend', onDomain, nothing),
  getHostname: procedure(59, 'connect_get_hostname', nothing, struct({ hostname: text }), high),
  supportsFeature: procedure(
    60,
    'connect_supports_feature',
    struct({ feature: int }),
    struct({ supported: int }),
    high,
  ),
  authList: procedure(66, 'auth_list', nothing, struct({ types: array(int, maxAuthTypes) }), high),
  getLibVersion: procedure(157, 'connect_get_lib_version', nothing, struct({ version: safeUhyper }), high),
  getState: procedure(
    212,
    'domain_get_state',
    struct({ dom: domain, flags: uint }),
    struct({ state: int, reason: int }),
    high,
  ),
  saveFlags: procedure(
    232,
    'domain_save_flags',
    struct({ dom: domain, path: text, xml: optional(text), flags: uint }),
    nothing,
  ),
  restoreFlags: procedure(
    233,
    'domain_restore_flags',
    struct({ path: text, xml: optional(text), flags: uint }),
    nothing,
  ),
  listAllDomains: procedure(
    273,
    'connect_list_all_domains',
    struct({ needResults: int, flags: uint }),
    struct({ domains: array(domain, maxListedDomains), count: uint }),
    high,
  ),
  registerEvent: procedure(
    316,
    'connect_domain_event_callback_register_any',
    struct({ eventId: int, dom: optional(domain) }),
    struct({ callbackId: int }),
    high,
  ),
  monitorCommand: procedure(
    1,
    'qemu_domain_monitor_command',
    struct({ dom: domain, command: text, flags: uint }),
    struct({ result: text }),
    { priority: 'low', program: 'qemu' },
  ),
} as const

/** remote_auth_type. */
export const authTypes = { none: 0, sasl: 1, polkit: 2 } as const

/** virErrorNumber, those that callers tell apart. */
export const libvirtErrorCodes = {
  invalidArgument: 8,
  operationFailed: 9,
  xmlError: 27,
  rpc: 39,
  noDomain: 42,
  operationInvalid: 55,
} as const

/** virConnectListAllDomainsFlags. */
export const listFlags = { active: 1 } as const

/** virDomainCreateFlags. `autodestroy`: the domain dies with this connection. */
export const createFlags = { paused: 1, autodestroy: 2, 'bypass-cache': 4, validate: 16, 'reset-nvram': 32 } as const
export type DomainCreateFlag = keyof typeof createFlags

/** virDomainXMLFlags. */
export const xmlFlags = { secure: 1, inactive: 2, 'update-cpu': 4, migratable: 8 } as const
export type DomainXmlFlag = keyof typeof xmlFlags

/** virDomainSaveRestoreFlags; `running` and `paused` fix the state after the restore. */
export const saveFlags = { 'bypass-cache': 1, running: 2, paused: 4, 'reset-nvram': 8 } as const
export type DomainSaveFlag = keyof typeof saveFlags

/** virDomainState by number; a number beyond is `unknown`. */
export const domainStates = [
  'no-state',
  'running',
  'blocked',
  'paused',
  'shutting-down',
  'shut-off',
  'crashed',
  'pm-suspended',
] as const
export type DomainState = (typeof domainStates)[number] | 'unknown'

/** virDomainEventType by number; a number beyond is `unknown`. */
export const lifecycleEvents = [
  'defined',
  'undefined',
  'started',
  'suspended',
  'resumed',
  'stopped',
  'shutdown',
  'pm-suspended',
  'crashed',
] as const
export type DomainLifecycleEvent = (typeof lifecycleEvents)[number] | 'unknown'

// The public face of lib/libvirt: everything else in this folder is its own business.
export type { CallOptions } from './call.ts'
export { connectLibvirt } from './connect.ts'
export type {
  ConnectOptions,
  DomainInfo,
  LibvirtConnection,
  LifecycleEvent,
  SaveOptions,
  VcpuPin,
} from './connection.ts'
export { isNoDomain, LibvirtError } from './libvirt-error.ts'
export {
  type DomainCreateFlag,
  type DomainLifecycleEvent,
  type DomainRef,
  type DomainSaveFlag,
  type DomainState,
  type DomainXmlFlag,
  libvirtErrorCodes,
} from './protocol.ts'

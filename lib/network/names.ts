// Names of a run's devices and tables, derived from its VNI alone, so that leftovers can be found without a record.
import assert from 'node:assert/strict'

/** Every device of ours on a node is in this device group ("vm"), which one rule keeps the node's own traffic away from. */
export const deviceGroup = 0x766d

export interface RunDevices {
  readonly bridge: string
  readonly vxlan: string
  /** The end of the veth in the host's namespace, a port of the bridge. */
  readonly servicesPort: string
  /** Its other end, in the services namespace. */
  readonly servicesDevice: string
}

/** A VNI as it stands in names: six hexadecimal digits. Asserts 1 .. 2^24 - 1. */
export function vniText(vni: number): string {
  assert(Number.isInteger(vni) && vni > 0 && vni < 2 ** 24, `VNI ${vni}`)
  return vni.toString(16).padStart(6, '0')
}

export function runDevices(vni: number): RunDevices {
  const text = vniText(vni)
  return { bridge: `vb${text}`, vxlan: `vx${text}`, servicesPort: `vs${text}`, servicesDevice: `vr${text}` }
}

/** A VM's tap; the index counts the run's VMs on this node from 0. */
export function tapName(vni: number, index: number): string {
  assert(Number.isInteger(index) && index >= 0 && index < 10_000, `VM index ${index}`)
  return `vt${vniText(vni)}-${index}`
}

/** The run's table in the bridge family of the host's namespace. */
export function filterTable(vni: number): string {
  return `vmrm_${vniText(vni)}`
}

/** Which kind a device of ours must have; a site's device that only has such a name is not ours. */
const kindOfPrefix: Record<string, readonly string[]> = {
  vb: ['bridge'],
  vx: ['vxlan'],
  vs: ['veth'],
  vt: ['tun', 'veth'],
}

/** The VNI a device belongs to, undefined for a device that is not ours. */
export function vniOfDevice(name: string, kind: string): number | undefined {
  const match = /^(vb|vx|vs|vt)([0-9a-f]{6})(-\d{1,4})?$/.exec(name)
  if (match === null || (match[1] === 'vt') !== (match[3] !== undefined)) return undefined
  if (!kindOfPrefix[match[1] ?? '']?.includes(kind)) return undefined
  return Number.parseInt(match[2] ?? '', 16)
}

// MAC addresses: the gateway's, and those of VMs by lease number. Pure.
import assert from 'node:assert/strict'

/** Every services namespace answers as this address to its own node's VMs; no VM may have it. */
export const gatewayMac = '02:76:6d:00:00:01'

const macPattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/

/** Six lower-case octets of a single station (no multicast). */
export function isStationMac(text: string): boolean {
  return macPattern.test(text) && (Number.parseInt(text.slice(0, 2), 16) & 1) === 0
}

/**
 * A cluster's MAC prefix: three octets, locally administered, of single stations, such as `02:a1:b2`; the gateway's own
 * prefix is refused. Undefined for anything else.
 */
export function parseMacPrefix(text: string): string | undefined {
  const prefix = text.toLowerCase()
  if (!/^[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}$/.test(prefix)) return undefined
  if ((Number.parseInt(prefix.slice(0, 2), 16) & 3) !== 2) return undefined
  return gatewayMac.startsWith(prefix) ? undefined : prefix
}

/** How many leases a MAC prefix has room for. */
export const macLeaseCount = 2 ** 24

/** The MAC address of a lease number (0 and up) under a prefix from `parseMacPrefix`. */
export function macOf(prefix: string, lease: number): string {
  assert(parseMacPrefix(prefix) === prefix && Number.isInteger(lease) && lease >= 0 && lease < macLeaseCount)
  const octets = [16, 8, 0].map((shift) => ((lease >>> shift) & 0xff).toString(16).padStart(2, '0'))
  return [prefix, ...octets].join(':')
}

// Arithmetic on IPv4 addresses, networks and ranges. Pure.
import assert from 'node:assert/strict'

/** Addresses from first to last, both included, as unsigned 32-bit numbers. */
export interface AddressRange {
  readonly first: number
  readonly last: number
}

export interface Ipv4Network {
  /** Host bits are zero. */
  readonly network: number
  readonly prefixLength: number
}

/** The number of a dotted quad, undefined for anything else; leading zeros are refused, since some readers take them as octal. */
export function parseIpv4(text: string): number | undefined {
  const octets = text.split('.')
  if (octets.length !== 4 || !octets.every((octet) => /^(0|[1-9]\d{0,2})$/.test(octet) && Number(octet) <= 255)) {
    return undefined
  }
  return octets.reduce((sum, octet) => sum * 256 + Number(octet), 0)
}

export function formatIpv4(address: number): string {
  assert(Number.isInteger(address) && address >= 0 && address <= 0xffffffff)
  return [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.')
}

/** `10.76.0.0/16`; undefined for anything else, set host bits included. */
export function parseIpv4Network(text: string): Ipv4Network | undefined {
  const match = /^([\d.]+)\/(\d|[12]\d|3[0-2])$/.exec(text)
  const network = match?.[1] === undefined ? undefined : parseIpv4(match[1])
  if (match === null || network === undefined) return undefined
  const prefixLength = Number(match[2])
  return network % 2 ** (32 - prefixLength) === 0 ? { network, prefixLength } : undefined
}

/** What hosts may have in a network: without its own and its broadcast address, but for /31 and /32, which have none. */
export function hostsOfNetwork({ network, prefixLength }: Ipv4Network): AddressRange {
  const size = 2 ** (32 - prefixLength)
  return size <= 2 ? { first: network, last: network + size - 1 } : { first: network + 1, last: network + size - 2 }
}

export function addressCount(range: AddressRange): number {
  return range.last - range.first + 1
}

/** The address at an index that counts from 0. */
export function addressAt(range: AddressRange, index: number): number {
  assert(Number.isInteger(index) && index >= 0 && index < addressCount(range), `no address ${index} in the range`)
  return range.first + index
}

export function rangesOverlap(a: AddressRange, b: AddressRange): boolean {
  return a.first <= b.last && b.first <= a.last
}

// What the number of a lease stands for: an address, a hostname, a MAC address. Pure; who has which is the ledger's business.
import { VmrmError } from '../errors/vmrm-error.ts'
import { hostnameAt, hostnameCount, parseHostnameRange } from './hostname-range.ts'
import {
  type AddressRange,
  addressAt,
  addressCount,
  formatIpv4,
  hostsOfNetwork,
  parseIpv4,
  parseIpv4Network,
} from './ipv4.ts'
import { macLeaseCount, macOf } from './mac.ts'

/**
 * A range whose members are found by an index that counts from 0; asserts that it is below `size`. What is leased is the
 * member itself in a space that all images share: ranges of several images may overlap, and nothing is given out twice.
 */
export interface LeaseRange {
  readonly space: LeaseSpace
  readonly size: number
  at(index: number): string
}

export type LeaseSpace = 'hostname' | 'address' | 'mac' | 'vni'

export interface AddressPool extends LeaseRange {
  /** For people: the network, or first and last. */
  readonly title: string
  readonly prefixLength: number
  /** In a private network the services namespace's address; on a site's bridge the site's, if any. */
  readonly gateway: string | undefined
}

/** An image's network as its catalogue entry states it. */
export type ImageAddresses =
  | { readonly kind: 'private'; readonly addresses: string }
  | {
      readonly kind: 'bridge'
      readonly addresses: string
      readonly first: string
      readonly last: string
      readonly gateway?: string | undefined
    }

/** Throws `config-invalid` for a network that cannot be leased from. */
export function addressPool(image: ImageAddresses): AddressPool {
  const network = parseIpv4Network(image.addresses)
  if (network === undefined) throw invalid(`${image.addresses} is no IPv4 network (are its host bits zero?)`)
  const hosts = hostsOfNetwork(network)
  const { prefixLength } = network
  if (image.kind === 'private') {
    if (prefixLength > 30) throw invalid(`${image.addresses} has no room for a gateway and a VM`)
    const range = { first: hosts.first + 1, last: hosts.last }
    return { ...leases(range), title: image.addresses, prefixLength, gateway: formatIpv4(hosts.first) }
  }
  const { gateway } = image
  const title = `${image.first}-${image.last}`
  const [first, last] = [parseIpv4(image.first), parseIpv4(image.last)]
  if (first === undefined || last === undefined || first > last || first < hosts.first || last > hosts.last) {
    throw invalid(`${title} is no range of hosts of ${image.addresses}`)
  }
  const gatewayNumber = gateway === undefined ? undefined : parseIpv4(gateway)
  if (gatewayNumber !== undefined && gatewayNumber >= first && gatewayNumber <= last) {
    throw invalid(`${title} would lease the gateway's own address ${gateway}`)
  }
  return { ...leases({ first, last }), title, prefixLength, gateway }
}

/** Throws `config-invalid` for what is no range of hostnames such as `tiny-[0001-9999]`. */
export function hostnameRange(text: string): LeaseRange {
  const range = parseHostnameRange(text)
  if (range === undefined) throw invalid(`${text} is no range of hostnames such as tiny-[0001-9999]`)
  return { space: 'hostname', size: hostnameCount(range), at: (index) => hostnameAt(range, index) }
}

/** MAC addresses under a prefix from `parseMacPrefix`. */
export function macRange(prefix: string): LeaseRange {
  return { space: 'mac', size: macLeaseCount, at: (index) => macOf(prefix, index) }
}

/** Network numbers, in decimal. */
export function vniRange(first: number, count: number): LeaseRange {
  return { space: 'vni', size: count, at: (index) => String(first + index) }
}

function leases(range: AddressRange): LeaseRange {
  return { space: 'address', size: addressCount(range), at: (index) => formatIpv4(addressAt(range, index)) }
}

function invalid(why: string): VmrmError {
  return new VmrmError('config-invalid', `${why}.`)
}

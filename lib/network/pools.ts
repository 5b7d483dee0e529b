// What an image's network and hostname settings hold, as numbered pools that the ledger leases from. Pure.
import type { Image } from '../config/image-schema.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import {
  addressAt,
  addressCount,
  formatIpv4,
  hostsOfNetwork,
  networkContains,
  parseIpv4,
  parseIpv4Network,
} from './address.ts'
import { hostnameAt, hostnameCount, parseHostnameRange } from './hostname-range.ts'

export interface NumberedPool {
  readonly size: number
  /** The value at an index from 0 to size - 1. */
  at(index: number): string
}

export interface AddressPool extends NumberedPool {
  /** `10.77.0.0/16`, or first and last of a site's bridge. */
  readonly title: string
  readonly prefixLength: number
  readonly gateway: string | undefined
}

/** Hostnames of a range such as `tiny-[0001-9999]`. Throws `config-invalid` for what is none. */
export function hostnamePool(range: string): NumberedPool {
  const parsed = parseHostnameRange(range)
  if (parsed === undefined) throw new VmrmError('config-invalid', `${range} is not a range of hostnames`)
  return { size: hostnameCount(parsed), at: (index) => hostnameAt(parsed, index) }
}

/**
 * Addresses of an image's network. On a private network the first host address is the gateway's; on a site's bridge only
 * `first` to `last` are leased. Throws `config-invalid` where they do not fit the prefix.
 */
export function addressPool(network: Image['network']): AddressPool {
  const parsed = parseIpv4Network(network.addresses)
  if (parsed === undefined || parsed.prefixLength > 29) {
    throw new VmrmError('config-invalid', `${network.addresses} is not the prefix of a network with at least 6 hosts`)
  }
  const hosts = hostsOfNetwork(parsed)
  if (network.kind === 'private') {
    return {
      title: network.addresses,
      prefixLength: parsed.prefixLength,
      gateway: formatIpv4(hosts.first),
      size: addressCount(hosts) - 1,
      at: (index) => formatIpv4(addressAt(hosts, index + 1)),
    }
  }
  const first = parseIpv4(network.first)
  const last = parseIpv4(network.last)
  const isFine = first !== undefined && last !== undefined && first <= last
  if (!isFine || !networkContains(parsed, first) || !networkContains(parsed, last)) {
    throw new VmrmError('config-invalid', `${network.first} to ${network.last} is no range within ${network.addresses}`)
  }
  return {
    title: `${network.first}-${network.last}`,
    prefixLength: parsed.prefixLength,
    gateway: network.gateway,
    size: last - first + 1,
    at: (index) => formatIpv4(addressAt({ first, last }, index)),
  }
}

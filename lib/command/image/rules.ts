// What is wrong with entries as they are written: between fields, and between images. Pure: it looks at no file.
import type { Image } from '../../config/image-schema.ts'
import { parseHostnameRange } from '../../network/hostname-range.ts'
import { type AddressRange, hostsOfNetwork, parseIpv4, parseIpv4Network, rangesOverlap } from '../../network/ipv4.ts'
import { parseSiteFragment } from '../../vm/site-fragment.ts'
import { error, type ImageProblem, warning } from './problem.ts'

/** `prepareMs`: how long a run may take to start (timeouts/@prepare-seconds). `exports`: nfs/@server. */
export interface SiteRules {
  readonly prepareSeconds: number
  readonly exports: 'ganesha' | 'none'
}

export function entryProblems(image: Image, site: SiteRules): ImageProblem[] {
  return [
    ...limitProblems(image),
    ...accessProblems(image),
    ...bootProblems(image, site),
    ...mountProblems(image, site),
  ]
}

function limitProblems({ limits, hostnames, network }: Image): ImageProblem[] {
  const problems: ImageProblem[] = []
  if (limits.minMemoryMib > limits.maxMemoryMib)
    problems.push(error(`limits: min-memory-mib ${limits.minMemoryMib} is above max-memory-mib ${limits.maxMemoryMib}`))
  const names = parseHostnameRange(hostnames.range)
  const hosts = addressesOf(network)
  if (names === undefined || hosts === undefined) return problems
  const counts = { hostnames: names.last - names.first + 1, addresses: hosts.last - hosts.first + 1 }
  const fewest = Math.min(counts.hostnames, counts.addresses)
  if (fewest < limits.maxPerNode) {
    const what = counts.hostnames < counts.addresses ? 'hostnames' : 'addresses'
    problems.push(warning(`limits: max-per-node is ${limits.maxPerNode}, but there are only ${fewest} ${what}`))
  }
  return problems
}

function accessProblems({ access }: Image): ImageProblem[] {
  const listed = access.users.length + access.groups.length + access.accounts.length
  if (access.policy === 'listed' && listed === 0)
    return [warning('access: policy is "listed" and nobody is listed: only root may use the image')]
  if (access.policy === 'all' && listed > 0)
    return [warning('access: policy is "all", so the users, groups and accounts listed there mean nothing')]
  return []
}

function bootProblems({ boot, domain }: Image, site: SiteRules): ImageProblem[] {
  const problems: ImageProblem[] = []
  if (boot.timeoutSeconds >= site.prepareSeconds)
    problems.push(
      warning(
        `boot: timeout-seconds ${boot.timeoutSeconds} never comes to bear: vmrmd.xml gives a run ${site.prepareSeconds} s (timeouts/@prepare-seconds)`,
      ),
    )
  if (domain !== undefined) {
    try {
      parseSiteFragment(/^\s*<domain[\s>]/.test(domain) ? domain : `<domain>${domain}</domain>`)
    } catch (thrown) {
      problems.push(error((thrown as Error).message))
    }
  }
  return problems
}

function mountProblems({ mounts }: Image, site: SiteRules): ImageProblem[] {
  const problems: ImageProblem[] = []
  const targets = new Set<string>()
  for (const { target } of mounts.entries) {
    if (targets.has(target)) problems.push(error(`mounts: ${target} is the target of two mounts`))
    targets.add(target)
    if (target === '/') problems.push(error('mounts: / cannot be a target'))
  }
  if (site.exports === 'none' && mounts.entries.some((mount) => mount.kind === 'export'))
    problems.push(error('mounts: it has exports, but vmrmd.xml has nfs/@server="none"'))
  return problems
}

/** Problems of `image` with another one. Ranges of private networks may overlap: each run has a network of its own. */
export function pairProblems(image: Image, other: Image): ImageProblem[] {
  const problems: ImageProblem[] = []
  const [own, theirs] = [addressesOf(image.network), addressesOf(other.network)]
  const shared = sharedBridge(image, other)
  if (shared !== undefined && own !== undefined && theirs !== undefined && rangesOverlap(own, theirs))
    problems.push(
      error(
        `network: image ${other.name} leases some of the same addresses on bridge ${shared}: two VMs would share one`,
      ),
    )
  if (hostnamesOverlap(image, other)) {
    const text = `hostnames: image ${other.name} uses some of the same names`
    const both = shared === undefined ? warning : error
    problems.push(both(`${text}${shared === undefined ? '' : ` on bridge ${shared}`}: two VMs may have one name`))
  }
  return problems
}

function sharedBridge({ network }: Image, other: Image): string | undefined {
  if (network.kind !== 'bridge' || other.network.kind !== 'bridge') return undefined
  return network.bridge === other.network.bridge ? network.bridge : undefined
}

function hostnamesOverlap(image: Image, other: Image): boolean {
  const [a, b] = [parseHostnameRange(image.hostnames.range), parseHostnameRange(other.hostnames.range)]
  if (a === undefined || b === undefined) return false
  const sameShape = a.prefix === b.prefix && a.suffix === b.suffix && a.digits === b.digits
  return sameShape && a.first <= b.last && b.first <= a.last
}

function addressesOf(network: Image['network']): AddressRange | undefined {
  if (network.kind === 'bridge') {
    const [first, last] = [parseIpv4(network.first), parseIpv4(network.last)]
    return first === undefined || last === undefined ? undefined : { first, last }
  }
  const parsed = parseIpv4Network(network.addresses)
  if (parsed === undefined) return undefined
  const hosts = hostsOfNetwork(parsed)
  return { first: hosts.first + 1, last: hosts.last }
}

// What a node needs once for all runs: the services namespace and the host's own filter table.
import { renderNodeFilters, renderServicesFilters } from './filters.ts'
import type { NetworkContext } from './run-network.ts'
import { runTool } from './tools.ts'

export interface NodeNetworkOptions {
  readonly servicesNamespace: string
  readonly vxlanPort: number
  /** Addresses or networks (`10.0.0.0/24`) that VXLAN may come from. */
  readonly peers: readonly string[]
}

/** Not forwarding, answering ARP only where the address is, strict about sources, no IPv6. */
const servicesSettings = [
  'net.ipv4.ip_forward=0',
  'net.ipv4.conf.all.arp_ignore=1',
  'net.ipv4.conf.all.arp_announce=2',
  'net.ipv4.conf.all.rp_filter=1',
  'net.ipv6.conf.all.disable_ipv6=1',
  'net.ipv6.conf.default.disable_ipv6=1',
]

/** Makes what is missing and renews the rest; runs that are up do not notice. Fails with `command-failed`. */
export async function setUpNodeNetwork(options: NodeNetworkOptions, context: NetworkContext): Promise<void> {
  const { signal, hostNamespace } = context
  const input = renderNodeFilters(options)
  // Side by side: a daemon that comes back waits for all of it.
  await Promise.all([
    setUpServices(options.servicesNamespace, signal),
    runTool({ tool: 'nft', args: ['-f', '-'], input, namespace: hostNamespace, signal }),
  ])
}

async function setUpServices(namespace: string, signal: AbortSignal | undefined): Promise<void> {
  const raiseLoopback = () => runTool({ tool: 'ip', args: ['-n', namespace, 'link', 'set', 'lo', 'up'], signal })
  try {
    await raiseLoopback()
  } catch {
    signal?.throwIfAborted()
    // A name that is no namespace (its mount went away) is in the way of making one.
    await runTool({ tool: 'ip', args: ['netns', 'delete', namespace], signal }).catch(() => {})
    await runTool({ tool: 'ip', args: ['netns', 'add', namespace], signal })
    await raiseLoopback()
  }
  await Promise.all([
    // -e: a kernel without IPv6 has none of its settings
    runTool({ tool: 'sysctl', args: ['-q', '-e', '-w', ...servicesSettings], namespace, signal }),
    runTool({ tool: 'nft', args: ['-f', '-'], input: renderServicesFilters(), namespace, signal }),
  ])
}

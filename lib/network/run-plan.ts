// What a node does for the network of a run: device commands and filters, as text. Pure; run-network.ts carries it out.
import assert from 'node:assert/strict'
import { renderRunFilters, renderRunServicesFilters } from './filters.ts'
import { parseIpv4 } from './ipv4.ts'
import { gatewayMac, isStationMac } from './mac.ts'
import { deviceGroup, runDevices, tapName } from './names.ts'

export interface RunVm {
  /** Dotted quad. */
  readonly address: string
  /** Six lower-case octets. */
  readonly mac: string
}

export interface LocalVm extends RunVm {
  /** Counts the run's VMs on this node from 0; part of the tap's name. */
  readonly index: number
}

export interface RunPeer {
  /** The other node's address in the underlay network. */
  readonly underlay: string
  /** The run's VMs on that node. */
  readonly vms: readonly RunVm[]
}

export interface PrivateNetwork {
  readonly kind: 'private'
  /** Address of the services namespace as its VMs see it, the same on every node. */
  readonly gateway: string
  readonly servicesNamespace: string
  /** TCP ports of the gateway that the run's VMs may reach. */
  readonly servicePorts: readonly number[]
  /** The run's other nodes; none for a run on one node. */
  readonly peers: readonly RunPeer[]
  /** This node's address in the underlay network; needed with peers. */
  readonly underlay?: string
  /** Default 4789. */
  readonly vxlanPort?: number
}

export interface SiteBridge {
  readonly kind: 'bridge'
  readonly bridge: string
}

export interface RunNetworkOptions {
  readonly vni: number
  /** Of every device, and of the guests' own. */
  readonly mtu: number
  /** Who may open the taps. */
  readonly qemuUid: number
  readonly vms: readonly LocalVm[]
  readonly network: PrivateNetwork | SiteBridge
}

export interface RunNetworkPlan {
  readonly vni: number
  readonly kind: 'private' | 'bridge'
  /** For `nft -f`, before any device exists. */
  readonly filters: string
  /** Lines for `ip -batch`. */
  readonly links: readonly string[]
  /** Lines for `bridge -batch`. */
  readonly forwarding: readonly string[]
  /** In the services namespace; absent for a site's bridge. */
  readonly services?: { readonly namespace: string; readonly filters: string; readonly links: readonly string[] }
}

const defaultVxlanPort = 4789

/** Device names as the kernel takes them and as no tool reads them as an option or a keyword's argument. */
const deviceNamePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/
const namespacePattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/

/** The whole plan. Asserts that every value is what its text may hold; the ledger's and the configuration's parsers see to it. */
export function planRunNetwork(options: RunNetworkOptions): RunNetworkPlan {
  assertValues(options)
  const { vni, mtu, network, vms } = options
  const devices = runDevices(vni)
  const bridge = network.kind === 'private' ? devices.bridge : network.bridge
  // Two lines, since the kernel raises a device before it takes addrgenmode, and then it has an IPv6 address already.
  const port = (name: string) => [
    `link set dev ${name} group ${deviceGroup} mtu ${mtu} addrgenmode none master ${bridge}`,
    `link set dev ${name} up`,
  ]
  const links: string[] = []
  if (network.kind === 'private') {
    // No address, no ARP, no IPv6 on the bridge itself: the node is not part of the network.
    links.push(
      `link add name ${bridge} group ${deviceGroup} mtu ${mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0`,
      `link set dev ${bridge} addrgenmode none arp off`,
      `link set dev ${bridge} up`,
      `link add name ${devices.servicesPort} type veth peer name ${devices.servicesDevice} netns ${network.servicesNamespace}`,
      ...port(devices.servicesPort),
    )
  }
  for (const { index, mac } of vms) {
    const tap = tapName(vni, index)
    // A bridge takes the lowest MAC address of its ports for its own; a tap must not change that of a site's bridge.
    const address = `link set dev ${tap} address fe${mac.slice(2)}`
    links.push(`tuntap add dev ${tap} mode tap user ${options.qemuUid}`, address, ...port(tap))
  }
  const base = { vni, kind: network.kind, filters: renderRunFilters(options) }
  if (network.kind === 'bridge') return { ...base, links, forwarding: [] }
  if (network.peers.length > 0) {
    const dstPort = network.vxlanPort ?? defaultVxlanPort
    links.push(
      `link add name ${devices.vxlan} type vxlan id ${vni} local ${network.underlay} dstport ${dstPort} nolearning`,
      ...port(devices.vxlan),
    )
  }
  return {
    ...base,
    links,
    forwarding: planForwarding(devices.vxlan, network.peers),
    services: {
      namespace: network.servicesNamespace,
      filters: renderRunServicesFilters({ ...network, vni, vms }),
      links: [
        `link set dev ${devices.servicesDevice} address ${gatewayMac} mtu ${mtu} addrgenmode none`,
        `address add ${network.gateway}/32 dev ${devices.servicesDevice}`,
        `link set dev ${devices.servicesDevice} up`,
        ...vms.map(
          (vm) => `route add ${vm.address}/32 dev ${devices.servicesDevice} scope link src ${network.gateway}`,
        ),
      ],
    },
  }
}

/** Broadcasts go to every peer; what is for one VM goes to its node only. */
function planForwarding(vxlan: string, peers: readonly RunPeer[]): string[] {
  return peers.flatMap(({ underlay, vms }) => [
    `fdb append 00:00:00:00:00:00 dev ${vxlan} dst ${underlay} self permanent`,
    ...vms.map((vm) => `fdb append ${vm.mac} dev ${vxlan} dst ${underlay} self permanent`),
  ])
}

function assertValues({ mtu, qemuUid, vms, network }: RunNetworkOptions): void {
  assert(Number.isInteger(mtu) && mtu >= 576 && mtu <= 65_535, `MTU ${mtu}`)
  assert(Number.isInteger(qemuUid) && qemuUid >= 0, `uid ${qemuUid}`)
  assert(vms.length > 0, 'a run has a VM on each of its nodes')
  const all: RunVm[] = [...vms]
  if (network.kind === 'bridge') {
    assert(deviceNamePattern.test(network.bridge), `bridge ${network.bridge}`)
  } else {
    all.push({ address: network.gateway, mac: gatewayMac }, ...network.peers.flatMap((peer) => peer.vms))
    assert(namespacePattern.test(network.servicesNamespace), `namespace ${network.servicesNamespace}`)
    for (const port of [...network.servicePorts, network.vxlanPort ?? defaultVxlanPort]) {
      assert(Number.isInteger(port) && port > 0 && port < 65_536, `port ${port}`)
    }
    for (const { underlay } of network.peers) assert(parseIpv4(underlay) !== undefined, `underlay ${underlay}`)
    assert(network.peers.length === 0 || parseIpv4(network.underlay ?? '') !== undefined, 'own underlay address')
  }
  for (const { address, mac } of all) {
    assert(parseIpv4(address) !== undefined, `address ${address}`)
    assert(isStationMac(mac), `MAC address ${mac}`)
  }
  assert(new Set(all.map((vm) => vm.address)).size === all.length, 'an address is there twice')
  assert(new Set(all.map((vm) => vm.mac)).size === all.length, 'a MAC address is there twice')
  assert(new Set(vms.map((vm) => vm.index)).size === vms.length, 'a VM index is there twice')
}

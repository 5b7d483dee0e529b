// The nftables text of a run and of a node. Pure; every text may be loaded again and again with the same result.
import { gatewayMac } from './mac.ts'
import { deviceGroup, filterTable, runDevices, tapName, vniText } from './names.ts'
import type { RunNetworkOptions, RunVm } from './run-plan.ts'

const table = 'vmrm'

/**
 * In the bridge family before br_netfilter (0), which a host with Docker has on: it takes frames over and goes on with the
 * hooks behind its own priority only, so a chain at 0 would be passed by.
 */
const priority = -200

const pairs = (vms: readonly RunVm[]): string => vms.map(({ mac, address }) => `${mac} . ${address}`).join(', ')
const quoted = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ')

/**
 * What a port of the bridge may send: IPv4 and ARP of these stations, nothing else; no IPv6 and no VLAN tags (which a
 * site's bridge would carry into other networks).
 */
function portChain(name: string, stations: readonly RunVm[], refusals: readonly string[] = []): string {
  return `  chain ${name} {
    ether type { 8021q, 8021ad } drop
${refusals.map((rule) => `    ${rule} drop\n`).join('')}    ether type ip ether saddr . ip saddr { ${pairs(stations)} } accept
    ether type arp arp htype 1 arp ptype ip ether saddr . arp saddr ip { ${pairs(stations)} } arp saddr ether . arp saddr ip { ${pairs(stations)} } accept
    drop
  }
`
}

/** The run's table in the bridge family of the host's namespace. */
export function renderRunFilters(options: RunNetworkOptions): string {
  const { vni, vms, network } = options
  const devices = runDevices(vni)
  const name = filterTable(vni)
  const chainOfPort = new Map<string, string>()
  let chains = ''
  for (const vm of vms) {
    chains += portChain(`from_${vm.index}`, [vm])
    chainOfPort.set(tapName(vni, vm.index), `from_${vm.index}`)
  }
  if (network.kind === 'private') {
    const { gateway, peers } = network
    chains += portChain('from_services', [{ mac: gatewayMac, address: gateway }])
    chainOfPort.set(devices.servicesPort, 'from_services')
    const remote = peers.flatMap((peer) => peer.vms)
    if (remote.length > 0) {
      chains += portChain('from_peers', remote, [`ether daddr ${gatewayMac}`, `arp daddr ip ${gateway}`])
      // Each node answers for the gateway itself, so no frame from it, to it or in search of it may leave the node.
      chains += `  chain forwarded {
    type filter hook forward priority ${priority}; policy accept;
    oifname "${devices.vxlan}" jump to_peers
  }
  chain to_peers {
    ether saddr ${gatewayMac} drop
    ether daddr ${gatewayMac} drop
    arp daddr ip ${gateway} drop
  }
`
      chainOfPort.set(devices.vxlan, 'from_peers')
    }
    // The node itself is no member of the network: not even a frame to the bridge's own address reaches its IP stack.
    const ports = quoted([...chainOfPort.keys()])
    chains += `  chain to_node {
    type filter hook input priority ${priority}; policy accept;
    iifname { ${ports} } drop
  }
  chain from_node {
    type filter hook output priority ${priority}; policy accept;
    oifname { ${ports} } drop
  }
`
  }
  const jumps = [...chainOfPort].map(([port, chain]) => `"${port}" : jump ${chain}`).join(', ')
  return `add table bridge ${name}
delete table bridge ${name}
table bridge ${name} {
${chains}  chain ports {
    type filter hook prerouting priority ${priority}; policy accept;
    iifname vmap { ${jumps} }
  }
}
`
}

export function renderRunFiltersRemoval(vni: number): string {
  return `add table bridge ${filterTable(vni)}\ndelete table bridge ${filterTable(vni)}\n`
}

/**
 * The host's own table: its IP stack has no traffic with guests' devices, VXLAN comes from peers only (addresses or
 * networks), and no local user but root can make any, since a forged packet would be a frame inside a run's network.
 */
export function renderNodeFilters(options: { vxlanPort: number; peers: readonly string[] }): string {
  const { vxlanPort, peers } = options
  const fill = peers.length === 0 ? '' : `add element inet ${table} peers { ${peers.join(', ')} }\n`
  return `add table inet ${table}
delete table inet ${table}
table inet ${table} {
  set peers {
    type ipv4_addr; flags interval; auto-merge;
  }
  chain output {
    type filter hook output priority 0; policy accept;
    oifgroup ${deviceGroup} drop
    udp dport ${vxlanPort} meta skuid != 0 drop
  }
  chain input {
    type filter hook input priority 0; policy accept;
    iifgroup ${deviceGroup} drop
    meta nfproto ipv6 udp dport ${vxlanPort} drop
    udp dport ${vxlanPort} ip saddr != @peers drop
  }
}
${fill}`
}

/** The services namespace's table: nothing in, out or through but what a run's own chains accept. Runs stay as they are. */
export function renderServicesFilters(): string {
  return `table inet ${table} {
  map from_runs {
    type ifname : verdict;
  }
  map to_runs {
    type ifname : verdict;
  }
  chain input {
    type filter hook input priority 0; policy drop;
  }
  chain output {
    type filter hook output priority 0; policy drop;
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
  }
}
flush chain inet ${table} input
flush chain inet ${table} output
add rule inet ${table} input iifname "lo" accept
add rule inet ${table} input iifname vmap @from_runs
add rule inet ${table} output oifname "lo" accept
add rule inet ${table} output oifname vmap @to_runs
`
}

/**
 * A run's chains there. Without connection tracking, so that no run can fill a table that all share: its VMs may send to
 * the named ports, and be answered from them, but the services open no connection to a VM.
 */
export function renderRunServicesFilters(options: {
  vni: number
  gateway: string
  servicePorts: readonly number[]
  vms: readonly RunVm[]
}): string {
  const { vni, gateway } = options
  const id = vniText(vni)
  const device = runDevices(vni).servicesDevice
  const members = options.vms.map((vm) => vm.address).join(', ')
  const ports = options.servicePorts.join(', ')
  const accepted =
    ports === ''
      ? ''
      : `add rule inet ${table} from_${id} ip saddr { ${members} } ip daddr ${gateway} tcp dport { ${ports} } accept
add rule inet ${table} to_${id} ip saddr ${gateway} ip daddr { ${members} } tcp sport { ${ports} } tcp flags & (syn | ack) != syn accept
`
  return `${renderServicesFilters()}add chain inet ${table} from_${id}
add chain inet ${table} to_${id}
flush chain inet ${table} from_${id}
flush chain inet ${table} to_${id}
${accepted}add rule inet ${table} from_${id} drop
add rule inet ${table} to_${id} drop
add element inet ${table} from_runs { "${device}" : jump from_${id} }
add element inet ${table} to_runs { "${device}" : jump to_${id} }
`
}

export function renderRunServicesFiltersRemoval(vni: number): string {
  const id = vniText(vni)
  const device = runDevices(vni).servicesDevice
  // What is added first need not have been there: deleting what is missing would be an error.
  return `${renderServicesFilters()}${['from', 'to']
    .map(
      (way) => `add chain inet ${table} ${way}_${id}
add element inet ${table} ${way}_runs { "${device}" : jump ${way}_${id} }
delete element inet ${table} ${way}_runs { "${device}" : jump ${way}_${id} }
flush chain inet ${table} ${way}_${id}
delete chain inet ${table} ${way}_${id}
`,
    )
    .join('')}`
}

// Two nodes on one machine: network namespaces joined by a veth, each with a services namespace, and VMs that are
// namespaces behind a veth where a guest would have a tap. Everything is named after this process and goes with the test.
import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { silentLog } from '../../../lib/log.ts'
import { gatewayMac } from '../../../lib/network/mac.ts'
import { tapName } from '../../../lib/network/names.ts'
import { setUpNodeNetwork } from '../../../lib/network/node-network.ts'
import { type NetworkContext, setUpRunNetwork } from '../../../lib/network/run-network.ts'
import { type LocalVm, planRunNetwork, type RunNetworkPlan, type RunVm } from '../../../lib/network/run-plan.ts'
import { until } from '../../support/until.ts'

export const gateway: RunVm = { address: '10.77.0.1', mac: gatewayMac }
export const qemuUid = 61_001
const timeout = 10_000

export interface Node {
  readonly name: string
  readonly services: string
  readonly underlay: string
  readonly context: NetworkContext
}

export interface Guest extends LocalVm {
  readonly namespace: string
  readonly node: Node
  readonly vni: number
}

export interface Action {
  /** What it printed after `ready`, when it has ended with 0. */
  readonly ended: Promise<string[]>
  end(): void
}

export function run(file: string, ...args: string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', timeout, stdio: ['ignore', 'pipe', 'pipe'] })
}

export const ip = (namespace: string, ...args: string[]) => run('/usr/sbin/ip', '-n', namespace, ...args)

export class Lab {
  readonly nodes: readonly [Node, Node]
  readonly probe: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'vmrm-network-'))
  readonly #namespaces: string[] = []

  constructor() {
    this.probe = join(this.#folder, 'probe')
    chmodSync(this.#folder, 0o755) // other uids run the probe too
    const source = new URL('probe.c', import.meta.url).pathname
    const sanitizers = '-fsanitize=address,undefined'
    run('/usr/bin/gcc', '-std=gnu11', '-Wall', '-Wextra', '-Werror', '-O1', sanitizers, '-o', this.probe, source)
    const make = (number: number): Node => {
      const name = this.#addNamespace(`n${number}`)
      const services = `vmrmt${process.pid}-s${number}`
      this.#namespaces.push(services)
      return { name, services, underlay: `10.99.0.${number}`, context: { log: silentLog, hostNamespace: name } }
    }
    this.nodes = [make(1), make(2)]
    const [a, b] = this.nodes
    ip(a.name, 'link', 'add', 'under0', 'type', 'veth', 'peer', 'name', 'under0', 'netns', b.name)
    for (const { name, underlay } of this.nodes) {
      ip(name, 'address', 'add', `${underlay}/24`, 'dev', 'under0')
      for (const device of ['lo', 'under0']) ip(name, 'link', 'set', device, 'up')
    }
  }

  async setUpNodes(): Promise<void> {
    for (const node of this.nodes) {
      const peers = this.nodes.filter((other) => other !== node).map((other) => other.underlay)
      await setUpNodeNetwork({ servicesNamespace: node.services, vxlanPort: 4789, peers }, node.context)
    }
  }

  /** A guest's own namespace; its NIC appears with the run's network. */
  addGuest(options: { node: Node; vni: number; index: number; address: string; mac: string }): Guest {
    return { ...options, namespace: this.#addNamespace(`g${this.#namespaces.length}`) }
  }

  planOf(node: Node, guests: readonly Guest[]): RunNetworkPlan {
    const others = this.nodes.filter((other) => other !== node)
    const plan = planRunNetwork({
      vni: guests[0]?.vni ?? 0,
      mtu: 1450,
      qemuUid,
      vms: guests.filter((guest) => guest.node === node),
      network: {
        kind: 'private',
        gateway: gateway.address,
        servicesNamespace: node.services,
        servicePorts: [2049],
        underlay: node.underlay,
        peers: others.flatMap((other) => {
          const vms = guests.filter((guest) => guest.node === other)
          return vms.length > 0 ? [{ underlay: other.underlay, vms }] : []
        }),
      },
    })
    return this.withVeths(plan, node, guests)
  }

  /** A tap has no second end that a namespace could own; a veth has, and is a port of the bridge all the same. */
  withVeths(plan: RunNetworkPlan, node: Node, guests: readonly Guest[]): RunNetworkPlan {
    const links = plan.links.map((line) => {
      const guest = guests.find(
        (one) => one.node === node && line.startsWith(`tuntap add dev ${tapName(one.vni, one.index)} `),
      )
      if (guest === undefined) return line
      return `link add name ${tapName(guest.vni, guest.index)} type veth peer name eth0 netns ${guest.namespace}`
    })
    return { ...plan, links }
  }

  async startRun(guests: readonly Guest[]): Promise<void> {
    for (const node of this.nodes) {
      if (guests.some((guest) => guest.node === node)) await setUpRunNetwork(this.planOf(node, guests), node.context)
    }
    await Promise.all(guests.map((guest) => this.bootGuest(guest)))
  }

  /** Returns when the bridge takes the guest's frames: the kernel tells it of a new carrier within a second. */
  async bootGuest({ namespace, mac, address, node, vni, index }: Guest): Promise<void> {
    ip(namespace, 'link', 'set', 'eth0', 'address', mac, 'mtu', '1450', 'addrgenmode', 'none')
    ip(namespace, 'link', 'set', 'eth0', 'up')
    ip(namespace, 'address', 'add', `${address}/16`, 'dev', 'eth0')
    await until('port forwards', () => {
      const [port] = JSON.parse(ip(node.name, '-details', '-json', 'link', 'show', tapName(vni, index)))
      return port.linkinfo.info_slave_data.state === 'forwarding'
    })
  }

  /** Runs the probe in a namespace, as another uid where one is given. */
  act(namespace: string, args: readonly string[], uid?: number): string {
    const as = uid === undefined ? [] : ['/usr/bin/setpriv', '--reuid', String(uid), '--clear-groups']
    return run('/usr/bin/nsenter', `--net=/run/netns/${namespace}`, ...as, this.probe, ...args).trim()
  }

  /** Starts a probe that says `ready`, and returns when it has said so. */
  async begin(namespace: string, args: readonly string[]): Promise<Action> {
    const child = spawn('/usr/bin/nsenter', [`--net=/run/netns/${namespace}`, this.probe, ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      timeout: 2 * timeout,
    })
    let output = ''
    const ended = new Promise<string[]>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) =>
        code === 0
          ? resolve(output.trim().split('\n').slice(1))
          : reject(new Error(`${args.join(' ')}: exit ${code}\n${output}`)),
      )
    })
    await new Promise<void>((resolve, reject) => {
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text
        if (output.startsWith('ready\n')) resolve()
      })
      ended.catch(reject)
    })
    return { ended, end: () => child.kill('SIGTERM') }
  }

  close(): void {
    for (const name of this.#namespaces) {
      try {
        run('/usr/sbin/ip', 'netns', 'delete', name)
      } catch {} // a services namespace that the test never made
    }
    rmSync(this.#folder, { recursive: true })
  }

  #addNamespace(suffix: string): string {
    const name = `vmrmt${process.pid}-${suffix}`
    run('/usr/sbin/ip', 'netns', 'add', name)
    this.#namespaces.push(name)
    return name
  }
}

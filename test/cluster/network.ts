// The cluster's network: a bridge in the controller's namespace and a veth to every node. Nothing of it is in the machine's own namespace.
import { attempt, command } from './exec.ts'
import { controllerName, type Host, type Layout, prefixBits } from './layout.ts'
import type { RunningHost } from './namespaces.ts'

const inNetwork = (host: RunningHost): string[] => ['/usr/bin/nsenter', '-t', String(host.init.pid), '-n', '--']

async function hasDevice(host: RunningHost, device: string): Promise<boolean> {
  const result = await attempt([...inNetwork(host), '/usr/sbin/ip', 'link', 'show', 'dev', device])
  return result.exitCode === 0
}

async function ipBatch(host: RunningHost, lines: readonly string[]): Promise<void> {
  await command([...inNetwork(host), '/usr/sbin/ip', '-batch', '-'], { input: `${lines.join('\n')}\n` })
}

async function connectNode(host: Host, node: RunningHost, controller: RunningHost): Promise<void> {
  if (await hasDevice(node, 'eth0')) return
  await ipBatch(controller, [
    `link add name ${host.name} type veth peer name eth0 netns ${node.init.pid}`,
    `link set ${host.name} master cluster0 up`,
  ])
  await ipBatch(node, [`addr add ${host.address}/${prefixBits} dev eth0`, 'link set eth0 up'])
}

/** Makes what is missing: a crash of the controller's host takes the whole network with it. */
export async function connectHosts(layout: Layout, running: ReadonlyMap<string, RunningHost>): Promise<void> {
  const controller = running.get(controllerName)
  if (controller === undefined) throw new Error('the controller host does not run')
  for (const host of layout.hosts) {
    const each = running.get(host.name)
    if (each === undefined) continue
    if (host.role === 'node') await connectNode(host, each, controller)
    else if (!(await hasDevice(controller, 'cluster0'))) {
      await ipBatch(controller, [
        'link add cluster0 type bridge forward_delay 0',
        `addr add ${host.address}/${prefixBits} dev cluster0`,
        'link set cluster0 up',
      ])
    }
  }
}

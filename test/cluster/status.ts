// `cluster status`: what runs on each host, and what Slurm says.
import { daemonNamesOf } from './daemon-table.ts'
import { findDaemon } from './daemons.ts'
import { attempt } from './exec.ts'
import { type ClusterSettings, controllerName, type Layout } from './layout.ts'
import { enter, runningHosts } from './namespaces.ts'

export interface HostStatus {
  readonly name: string
  /** pid of the host's init as the machine numbers it; null where the host does not run. */
  readonly init: number | null
  /** pid by daemon; null where it should run and does not. */
  readonly daemons: Readonly<Record<string, number | null>>
}

export function hostStatuses(layout: Layout, settings: ClusterSettings): HostStatus[] {
  const running = runningHosts(layout)
  return layout.hosts.map((host) => ({
    name: host.name,
    init: running.get(host.name)?.init.pid ?? null,
    daemons: Object.fromEntries(
      daemonNamesOf(host, settings).map((name) => [name, findDaemon(host, name)?.pid ?? null]),
    ),
  }))
}

export const isHealthy = (status: HostStatus): boolean =>
  status.init !== null && Object.values(status.daemons).every((pid) => pid !== null)

/** Lines for people. */
export async function renderStatus(layout: Layout, statuses: readonly HostStatus[]): Promise<string> {
  const lines = statuses.map(({ name, init, daemons }) => {
    const shown = Object.entries(daemons).map(([daemon, pid]) => `${daemon}=${pid ?? 'DEAD'}`)
    return `${name.padEnd(4)} init=${init ?? 'DEAD'} ${shown.join(' ')}`
  })
  const controller = runningHosts(layout).get(controllerName)
  if (controller === undefined) return `${lines.join('\n')}\n`
  const sinfo = await attempt(enter(controller, ['/usr/bin/sinfo']), { timeoutMs: 15_000 })
  return `${lines.join('\n')}\n${sinfo.stdout}${sinfo.stderr}`
}

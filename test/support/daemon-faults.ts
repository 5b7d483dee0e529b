// Faults of the cluster's daemons for tests: a crash, and other waiting times than the default ones.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type DaemonName, findDaemon } from '../cluster/daemons.ts'
import { hostNamed } from '../cluster/layout.ts'
import { isAlive, signalProcess } from '../cluster/procfs.ts'
import type { Cluster } from './cluster.ts'
import { until } from './until.ts'

/** SIGKILL, as a crash is. Returns when it is gone; `cluster.daemon('start', …)` starts it again. */
export async function crashDaemon(cluster: Cluster, host: string, name: DaemonName): Promise<void> {
  const daemon = findDaemon(hostNamed(cluster.layout, host), name)
  if (daemon === undefined) throw new Error(`${name} of ${host} does not run`)
  signalProcess(daemon, 'SIGKILL')
  await until(`the end of ${name} of ${host}`, () => !isAlive(daemon))
}

/** Runs `work` with these timeouts (`controller-seconds="10"`) in vmrmd.xml of every host. */
export const withTimeouts = (cluster: Cluster, timeouts: string, work: () => Promise<void>): Promise<void> =>
  withVmrmdXml(cluster, `<timeouts ${timeouts}/>`, work)

/** Runs `work` with these children of the root in vmrmd.xml of every host. */
export async function withVmrmdXml(cluster: Cluster, elements: string, work: () => Promise<void>): Promise<void> {
  const files = cluster.layout.hosts.map((host) => {
    const path = join(host.folder, 'etc/vmrm/vmrmd.xml')
    return { host: host.name, path, text: readFileSync(path, 'utf8') }
  })
  const apply = async (change: (text: string) => string) => {
    for (const { path, text } of files) writeFileSync(path, change(text))
    await Promise.all(files.map(({ host }) => cluster.daemon('restart', host, 'vmrmd')))
  }
  await apply((text) => text.replace('</vmrmd>', `${elements}</vmrmd>`))
  try {
    await work()
  } catch (error) {
    // What failed first is what is told: a host that is down cannot be put back.
    await apply((text) => text).catch(() => {})
    throw error
  }
  await apply((text) => text)
}

// `cluster up`: makes what is missing, from nothing or after something died, and waits until Slurm takes jobs.
import { existsSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { installPackages } from '../support/packages.ts'
import { daemonNamesOf, daemonsOf } from './daemon-table.ts'
import { findDaemon, type LiveHost, startDaemon } from './daemons.ts'
import { makeHostFolders } from './host-root.ts'
import { type ClusterSettings, controllerName, type Host, hostNamed, type Layout } from './layout.ts'
import { writeLibvirtConfiguration } from './libvirt.ts'
import { writeMungeKey } from './munge.ts'
import { hostsWithProcesses, killHost, type RunningHost, runningHosts, startHost } from './namespaces.ts'
import { connectHosts } from './network.ts'
import { writeGaneshaConfiguration } from './nfs.ts'
import { writeSlurmConfiguration } from './slurm.ts'
import { writeSettings } from './state.ts'
import { giveTemplates } from './templates.ts'
import { makeHomes, writeHostIdentity } from './users.ts'
import { copyCatalogue, isBuilt, layOutParts, writeDaemonConfiguration } from './vmrm.ts'

/** Everything of an earlier cluster in this folder but its logs' place and the lock. */
function wipe(layout: Layout): void {
  for (const name of ['hosts', 'log', 'home', 'etc-slurm', 'images.d', 'usr-lib-vmrm', 'skeleton', 'munge.key']) {
    rmSync(join(layout.folder, name), { recursive: true, force: true })
  }
}

function writeFiles(layout: Layout, settings: ClusterSettings): void {
  for (const host of layout.hosts) {
    makeHostFolders(layout, host)
    writeHostIdentity(layout, host)
    writeMungeKey(layout, host)
    if (host.role === 'node') {
      writeLibvirtConfiguration(layout, host)
      writeGaneshaConfiguration(host)
    }
    if (settings.vmrm === 'with-vmrm') writeDaemonConfiguration(layout, host)
  }
  makeHomes(layout)
  writeSlurmConfiguration(layout, settings)
}

function refreshParts(layout: Layout, settings: ClusterSettings): void {
  if (settings.vmrm === 'with-vmrm') layOutParts(layout)
  copyCatalogue(layout)
}

async function bootHosts(layout: Layout): Promise<Map<string, RunningHost>> {
  const running = runningHosts(layout)
  const half = hostsWithProcesses(layout).filter((name) => !running.has(name))
  await Promise.all(half.map((name) => killHost(layout, name)))
  await Promise.all(
    layout.hosts
      .filter((host) => !running.has(host.name))
      .map(async (host) => {
        running.set(host.name, await startHost(layout, host))
      }),
  )
  await connectHosts(layout, running)
  return running
}

export function liveHost(host: Host, running: ReadonlyMap<string, RunningHost>): LiveHost {
  const found = running.get(host.name)
  if (found === undefined) throw new Error(`host ${host.name} does not run; \`cluster up\` starts it`)
  return { host, running: found }
}

async function startDaemons(
  layout: Layout,
  settings: ClusterSettings,
  running: ReadonlyMap<string, RunningHost>,
): Promise<void> {
  const controller = liveHost(hostNamed(layout, controllerName), running)
  const startAll = async (host: Host): Promise<void> => {
    const live = liveHost(host, running)
    for (const spec of daemonsOf(host, settings, controller)) await startDaemon(live, spec)
  }
  // Every host is started to the end or to its own failure, so that the message names the first that failed and `down` finds no half-written record.
  const results = await Promise.allSettled(layout.hosts.map(startAll))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

/** Whether every host and daemon runs already. */
function isComplete(layout: Layout, settings: ClusterSettings): boolean {
  const running = runningHosts(layout)
  return layout.hosts.every(
    (host) =>
      running.has(host.name) && daemonNamesOf(host, settings).every((name) => findDaemon(host, name) !== undefined),
  )
}

/** `earlier` is what the folder's cluster was brought up with, if there is one. Harmless when everything runs. */
export async function up(options: {
  layout: Layout
  settings: ClusterSettings
  earlier: ClusterSettings | undefined
  say: (line: string) => void
}): Promise<void> {
  const { layout, settings, earlier, say } = options
  const start = performance.now()
  if (settings.vmrm === 'with-vmrm' && !isBuilt(layout)) throw new Error('build/vmrm is missing: npm run build')
  await installPackages(settings.accounting === 'with-accounting' ? ['cluster', 'accounting'] : ['cluster'], say)
  const fresh = earlier === undefined || hostsWithProcesses(layout).length === 0
  if (fresh) wipe(layout)
  mkdirSync(layout.folder, { recursive: true })
  writeSettings(layout.folder, settings)
  if (fresh || !existsSync(join(layout.folder, 'etc-slurm/slurm.conf'))) writeFiles(layout, settings)
  refreshParts(layout, settings)
  if (fresh && settings.vmrm === 'with-vmrm') giveTemplates(layout)
  const complete = isComplete(layout, settings)
  if (!complete) await startDaemons(layout, settings, await bootHosts(layout))
  const what = complete ? 'was up already' : fresh ? 'is up' : 'is up again'
  say(
    `the cluster ${what}: ${layout.hosts.map((host) => host.name).join(' ')}, ${Math.round(performance.now() - start)} ms`,
  )
}

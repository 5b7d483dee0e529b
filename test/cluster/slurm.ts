// Slurm's configuration, put together from slurm-conf-snippets and the test-only overlay, and its two daemons.
import { chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { accountingLines, addAssociations, writeDatabaseConfiguration } from './accounting.ts'
import type { DaemonSpec, LiveHost } from './daemons.ts'
import { attempt, command } from './exec.ts'
import { type ClusterSettings, controllerName, type Host, hostNamed, type Layout } from './layout.ts'
import { enter } from './namespaces.ts'
import { machineUid } from './users.ts'

export const overlayFolder = join(import.meta.dirname, 'overlay')

function nodeLines(layout: Layout, settings: ClusterSettings): string[] {
  const shape = `CPUs=${settings.cpusPerNode} Sockets=1 CoresPerSocket=${settings.cpusPerNode} ThreadsPerCore=1`
  const nodes = layout.hosts.filter((host) => host.role === 'node')
  return nodes.map(
    ({ name, address }) =>
      `NodeName=${name} NodeAddr=${address} ${shape} RealMemory=${settings.memoryMibPerNode} Gres=gpu:4,fake:8 State=UNKNOWN`,
  )
}

/** The overlay's text, with what binds tasks to CPUs switched on where that is wanted. */
function overlayText(name: string, settings: ClusterSettings): string {
  const text = readFileSync(join(overlayFolder, name), 'utf8')
  if (settings.binding === 'unbound-tasks') return text
  return text
    .replace('TaskPlugin=task/cgroup', 'TaskPlugin=task/affinity,task/cgroup')
    .replace('ConstrainCores=no', 'ConstrainCores=yes')
}

/** The snippets as an administrator would place them; the overlay's own files beside them. */
export function writeSlurmConfiguration(layout: Layout, settings: ClusterSettings): void {
  const folder = join(layout.folder, 'etc-slurm')
  mkdirSync(folder, { recursive: true })
  const parts = [overlayText('slurm.conf', settings), nodeLines(layout, settings).join('\n')]
  for (const name of ['cgroup.conf', 'gres.conf']) writeFileSync(join(folder, name), overlayText(name, settings))
  if (settings.vmrm === 'with-vmrm') {
    const snippets = join(layout.repository, 'slurm-conf-snippets')
    for (const name of ['slurm.conf.vmrm', 'plugstack.conf.vmrm', 'job_submit.conf.vmrm', 'job_submit/job_submit.lua'])
      copyFileSync(join(snippets, name), join(folder, basename(name)))
    parts.push('include /etc/slurm/slurm.conf.vmrm', 'include /etc/slurm/job_submit.conf.vmrm')
    writeFileSync(join(folder, 'plugstack.conf'), 'include /etc/slurm/plugstack.conf.vmrm\n')
  }
  if (settings.accounting === 'with-accounting') {
    const { address } = hostNamed(layout, controllerName)
    writeDatabaseConfiguration(layout, address)
    parts.push(...accountingLines(address))
  }
  writeFileSync(join(folder, 'slurm.conf'), `${parts.join('\n')}\n`)
}

/** State folders of the controller belong to SlurmUser. A new cluster has neither old controller state nor old spools. */
export function makeSlurmFolders(host: Host): void {
  const uid = machineUid('slurm')
  for (const folder of ['var/lib/slurm/slurmctld', 'var/spool/slurm/slurmd', 'run/slurm']) {
    const path = join(host.folder, folder)
    if (!existsSync(path)) mkdirSync(path, { recursive: true })
    if (host.role === 'controller') chownSync(path, uid, uid)
  }
}

/** What an administrator runs after each change of the catalogue; the rules at submission read it. */
async function writeSubmissionTable({ running }: LiveHost): Promise<void> {
  const table = '/etc/vmrm/job_submit_table.lua'
  const argv = ['/usr/bin/test', '-x', '/usr/lib/vmrm/vmrm']
  if ((await attempt(enter(running, argv))).exitCode !== 0) return
  await command(enter(running, ['/usr/lib/vmrm/vmrm', 'job-submit-table', '--output', table]))
}

export function slurmctldSpec(settings: ClusterSettings): DaemonSpec {
  return {
    name: 'slurmctld',
    argv: ['/usr/sbin/slurmctld', '-D'],
    prepare: async (live) => {
      makeSlurmFolders(live.host)
      await writeSubmissionTable(live)
      if (settings.accounting === 'with-accounting') await addAssociations(live)
    },
    isReady: async ({ running }) => (await attempt(enter(running, ['/usr/bin/scontrol', 'ping']))).exitCode === 0,
    readyTimeoutMs: 15_000,
  }
}

export function slurmdSpec(controller: LiveHost): DaemonSpec {
  return {
    name: 'slurmd',
    argv: ['/usr/sbin/slurmd', '-D'],
    prepare: async ({ host }) => makeSlurmFolders(host),
    // Registered: the controller knows it and does not wait for it; drained nodes count as ready.
    isReady: async ({ host }) => !/\*|UNKN|^DOWN/i.test(await nodeState(controller, host.name)),
    readyTimeoutMs: 20_000,
  }
}

/** For example `IDLE`, `MIXED`, `DOWN*`; `unknown*` where the controller does not answer. */
export async function nodeState(controller: LiveHost, name: string): Promise<string> {
  const argv = ['/usr/bin/sinfo', '--noheader', '--nodes', name, '--format', '%T', '--partition', 'main']
  const result = await attempt(enter(controller.running, argv))
  return result.exitCode === 0 ? result.stdout.trim() || 'unknown*' : 'unknown*'
}

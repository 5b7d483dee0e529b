// nfs-ganesha, one a node, inside the node's services namespace: it serves the exports that vmrmd writes for each run.
import { copyFileSync, existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { DaemonSpec, LiveHost } from './daemons.ts'
import { attempt, command } from './exec.ts'
import type { Host } from './layout.ts'
import { enter } from './namespaces.ts'
import { listensOnTcp } from './procfs.ts'
import { overlayFolder } from './slurm.ts'

/** The network namespace of a node that guests' services live in; a name in the node's own /run/netns. */
export const servicesNamespace = 'vmrm'
/** Where Debian's unit has it; vmrmd reads there when a reload is done. */
const ganeshaLog = '/var/log/ganesha/ganesha.log'
export const exportsFolder = '/var/lib/vmrm/exports'

export function writeGaneshaConfiguration(host: Host): void {
  mkdirSync(join(host.folder, 'etc/vmrm'), { recursive: true })
  mkdirSync(join(host.folder, exportsFolder), { recursive: true })
  if (!existsSync(join(host.log, 'ganesha.log'))) symlinkSync('ganesha/ganesha.log', join(host.log, 'ganesha.log'))
  copyFileSync(join(overlayFolder, 'ganesha.conf'), join(host.folder, 'etc/vmrm/ganesha.conf'))
}

async function makeServicesNamespace({ running }: LiveHost): Promise<void> {
  const ip = (...argv: string[]): string[] => enter(running, ['/usr/sbin/ip', ...argv])
  const { stdout } = await attempt(ip('netns', 'list'))
  if (!stdout.split('\n').some((line) => line.split(' ')[0] === servicesNamespace))
    await command(ip('netns', 'add', servicesNamespace))
  await command(ip('-n', servicesNamespace, 'link', 'set', 'lo', 'up'))
}

export const ganeshaSpec: DaemonSpec = {
  name: 'ganesha',
  // Not `ip netns exec`: it mounts a /sys of its own, without the cgroups.
  argv: [
    '/usr/bin/nsenter',
    `--net=/run/netns/${servicesNamespace}`,
    '--',
    '/usr/bin/ganesha.nfsd',
    '-F',
    '-f',
    '/etc/vmrm/ganesha.conf',
    '-p',
    '/run/ganesha/ganesha.pid',
    '-L',
    ganeshaLog,
  ],
  prepare: makeServicesNamespace,
  isReady: (_live, daemon) => listensOnTcp(daemon.pid, 2049),
  readyTimeoutMs: 15_000,
}

// The script that is a host's first process: it makes the host's own view of the file system, then becomes its init.
// It must change nothing of the machine: every mount is private to the host, /usr is read-only in it.
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Hierarchy } from './cgroups.ts'
import type { Host, Layout } from './layout.ts'

/** Folders that hosts write to although the machine has them, too: overlays that forget what is written. */
const scratchFolders = ['/etc', '/var/lib', '/var/log', '/var/cache', '/var/spool']

/** [path below the host's folder, path in the host]; kept over a crash of the host, but for /run and /tmp. */
function privateBinds(): [string, string][] {
  return [
    ['run', '/run'],
    ['tmp', '/tmp'],
    ['etc/libvirt', '/etc/libvirt'],
    ['etc/vmrm', '/etc/vmrm'],
    ['var/lib/libvirt', '/var/lib/libvirt'],
    ['var/cache/libvirt', '/var/cache/libvirt'],
    ['var/lib/slurm', '/var/lib/slurm'],
    ['var/lib/nfs', '/var/lib/nfs'],
    ['var/lib/vmrm', '/var/lib/vmrm'],
    ['var/spool/slurm', '/var/spool/slurm'],
  ]
}

/** [path below the cluster's folder, path in every host]. */
const sharedBinds: [string, string][] = [
  ['etc-slurm', '/etc/slurm'],
  ['images.d', '/etc/vmrm/images.d'],
  ['home', '/home'],
]

/** Folders of /var/log that stay with the cluster's logs. */
const logFolders = ['libvirt', 'ganesha']

const runFolders = ['lock', 'munge', 'libvirt', 'slurm', 'vmrm/jobs', 'netns', 'ganesha', 'user']

export function makeHostFolders(layout: Layout, host: Host): void {
  for (const [source] of privateBinds()) mkdirSync(join(host.folder, source), { recursive: true })
  for (const [source] of sharedBinds) mkdirSync(join(layout.folder, source), { recursive: true })
  for (const folder of runFolders) mkdirSync(join(host.folder, 'run', folder), { recursive: true })
  chmodSync(join(host.folder, 'tmp'), 0o1777)
  for (const folder of ['scratch', 'etc/vmrm/images.d', 'daemons']) {
    mkdirSync(join(host.folder, folder), { recursive: true })
  }
  for (const folder of ['lib/vmrm', 'bin']) mkdirSync(join(layout.folder, 'skeleton/usr', folder), { recursive: true })
  mkdirSync(join(layout.folder, 'usr-lib-vmrm'), { recursive: true })
  // ganesha's log names the addresses of guests; a site has it in its journal, which users cannot read.
  for (const name of logFolders) {
    mkdirSync(join(host.log, name), { recursive: true })
    chmodSync(join(host.log, name), 0o700)
  }
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

function overlayLines(host: Host): string[] {
  const scratch = join(host.folder, 'scratch')
  const lines = [`mount -t tmpfs -o mode=755 tmpfs ${quote(scratch)}`]
  scratchFolders.forEach((folder, i) => {
    const [upper, work] = [join(scratch, `${i}/upper`), join(scratch, `${i}/work`)]
    lines.push(`mkdir -p ${quote(upper)} ${quote(work)}`)
    lines.push(`mount -t overlay -o ${quote(`lowerdir=${folder},upperdir=${upper},workdir=${work}`)} overlay ${folder}`)
  })
  return lines
}

function cgroupLines(list: readonly Hierarchy[]): string[] {
  if (list.length === 0) return []
  const lines = list.every((each) => each.mountPoint === '/sys/fs/cgroup')
    ? []
    : ['mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup']
  for (const { mountPoint, type, options } of list) {
    lines.push(`mkdir -p ${quote(mountPoint)}`)
    lines.push(`mount -t ${type} ${options === '' ? '' : `-o ${quote(options)} `}cgroup ${quote(mountPoint)}`)
  }
  return lines
}

/** What of the machine's /tmp a host must still see although its own /tmp is private. */
function keptVisible(layout: Layout, host: Host): string[] {
  return [layout.folder, layout.repository, layout.images]
    .filter((path) => path.startsWith('/tmp/'))
    .flatMap((path) => {
      const point = quote(join(host.folder, path))
      return [`if [ -d ${quote(path)} ]; then mkdir -p ${point}; mount --rbind ${quote(path)} ${point}; fi`]
    })
}

function bindLine(source: string, target: string): string[] {
  return [`mkdir -p ${quote(target)}`, `mount --rbind ${quote(source)} ${quote(target)}`]
}

/** Writes the script and returns its path; the host is ready when its first process has become tini. It needs mount, uts, net, ipc, pid and cgroup namespaces of its own. */
export function writeInitScript(options: { layout: Layout; host: Host; hierarchies: readonly Hierarchy[] }): string {
  const { layout, host } = options
  const lines = [
    '#!/bin/bash',
    'set -eu',
    'umask 022',
    `hostname ${quote(host.name)}`,
    'mount -t proc proc /proc',
    'mount -t sysfs sysfs /sys',
    ...cgroupLines(options.hierarchies),
    'mount -t tmpfs -o mode=1777 tmpfs /dev/shm',
    `mount -t overlay -o ${quote(`lowerdir=${join(layout.folder, 'skeleton/usr')}:/usr`)} overlay /usr`,
    `mount --bind -o ro ${quote(join(layout.folder, 'usr-lib-vmrm'))} /usr/lib/vmrm`,
    ...overlayLines(host),
    `cp ${quote(join(host.folder, 'etc'))}/{passwd,group,hosts,hostname} /etc/`,
    ...logFolders.flatMap((name) => bindLine(join(host.log, name), `/var/log/${name}`)),
    ...keptVisible(layout, host),
    ...privateBinds()
      .filter(([, target]) => target !== '/tmp')
      .flatMap(([source, target]) => bindLine(join(host.folder, source), target)),
    ...sharedBinds.flatMap(([source, target]) => bindLine(join(layout.folder, source), target)),
    `mount --rbind ${quote(join(host.folder, 'tmp'))} /tmp`,
    'ip link set lo up',
    'cd /',
    'exec /usr/bin/tini -- /bin/sleep infinity',
  ]
  const path = join(host.folder, 'init.sh')
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o755 })
  return path
}

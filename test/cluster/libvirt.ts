// A libvirtd a node, with sockets, state and configuration of its own.

import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acceptsOnSocket, type DaemonSpec } from './daemons.ts'
import type { Host, Layout } from './layout.ts'
import { overlayFolder } from './slurm.ts'

/** Stable for a host of a cluster, and not the machine's: libvirt refuses to migrate between hosts of one uuid. */
function hostUuid(layout: Layout, host: Host): string {
  const hex = createHash('sha256').update(`${layout.folder}:${host.name}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

export function writeLibvirtConfiguration(layout: Layout, host: Host): void {
  const folder = join(host.folder, 'etc/libvirt')
  mkdirSync(folder, { recursive: true })
  const common = readFileSync(join(overlayFolder, 'libvirtd.conf'), 'utf8')
  writeFileSync(join(folder, 'libvirtd.conf'), `${common}host_uuid = "${hostUuid(layout, host)}"\n`)
  copyFileSync(join(overlayFolder, 'qemu.conf'), join(folder, 'qemu.conf'))
}

export const libvirtdSpec: DaemonSpec = {
  name: 'libvirtd',
  argv: ['/usr/sbin/libvirtd', '--config', '/etc/libvirt/libvirtd.conf'],
  isReady: ({ running }) => acceptsOnSocket(running, '/run/libvirt/libvirt-sock'),
  readyTimeoutMs: 15_000,
}

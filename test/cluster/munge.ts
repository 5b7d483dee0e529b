// One munged a host, all with the cluster's own key.
import { randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acceptsOnSocket, type DaemonSpec } from './daemons.ts'
import type { Host, Layout } from './layout.ts'

/** The key below the host's folder; munged refuses one that others may read. */
export function writeMungeKey(layout: Layout, host: Host): void {
  const key = join(layout.folder, 'munge.key')
  if (!existsSync(key)) writeFileSync(key, randomBytes(128), { mode: 0o400 })
  const folder = join(host.folder, 'munge')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  if (!existsSync(join(folder, 'munge.key'))) copyFileSync(key, join(folder, 'munge.key'))
}

export function mungedSpec(host: Host): DaemonSpec {
  const folder = join(host.folder, 'munge')
  return {
    name: 'munged',
    argv: [
      '/usr/sbin/munged',
      '--foreground',
      `--key-file=${join(folder, 'munge.key')}`,
      `--seed-file=${join(folder, 'munged.seed')}`,
      `--log-file=${join(folder, 'munged.log')}`,
      '--pid-file=/run/munge/munged.pid',
      // The hosts' group file does not change; the default looks again every hour.
      '--group-update-time=-1',
    ],
    isReady: ({ running }) => acceptsOnSocket(running, '/run/munge/munge.socket.2'),
    readyTimeoutMs: 10_000,
  }
}

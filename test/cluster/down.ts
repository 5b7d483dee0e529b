// `cluster down`: ends every host and removes what the cluster made, but its logs. Works after any half-done `up`.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { removeGroups } from './cgroups.ts'
import type { Layout } from './layout.ts'
import { hostsWithProcesses, killHost } from './namespaces.ts'
import { keepTemplates } from './templates.ts'

export async function down(layout: Layout, say: (line: string) => void): Promise<void> {
  const start = performance.now()
  const names = new Set<string>()
  // Again, since an `up` that was killed may have left a host that was just being born.
  for (let found = hostsWithProcesses(layout); found.length > 0; found = hostsWithProcesses(layout)) {
    for (const name of found) names.add(name)
    const results = await Promise.allSettled(found.map((name) => killHost(layout, name)))
    for (const result of results) if (result.status === 'rejected') throw result.reason
  }
  await removeGroups(layout)
  keepTemplates(layout, join(layout.folder, 'hosts'))
  for (const name of [
    'hosts',
    'home',
    'etc-slurm',
    'images.d',
    'usr-lib-vmrm',
    'skeleton',
    'munge.key',
    'state.json',
  ]) {
    rmSync(join(layout.folder, name), { recursive: true, force: true })
  }
  const took = `${Math.round(performance.now() - start)} ms`
  say(names.size === 0 ? 'the cluster was down already' : `the cluster is down: ${[...names].join(' ')}, ${took}`)
}

// One group for the cluster and one a host in every cgroup hierarchy of the machine (v1 and v2); it touches no other group.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Host, Layout } from './layout.ts'
import { waitFor } from './wait.ts'

export interface Hierarchy {
  readonly mountPoint: string
  readonly type: 'cgroup' | 'cgroup2'
  /** Controllers or name of a v1 hierarchy, as mount options. */
  readonly options: string
}

const notControllers = new Set(['rw', 'ro', 'nosuid', 'nodev', 'noexec', 'relatime', 'noatime', 'seclabel'])

/** The machine's hierarchies, from /proc/mounts. */
export function hierarchies(): Hierarchy[] {
  const found = new Map<string, Hierarchy>()
  for (const line of readFileSync('/proc/mounts', 'utf8').split('\n')) {
    const [, mountPoint, type, options] = line.split(' ')
    if (mountPoint === undefined || options === undefined) continue
    if (type !== 'cgroup' && type !== 'cgroup2') continue
    const kept = options.split(',').filter((each) => !notControllers.has(each) && !each.startsWith('xattr'))
    found.set(mountPoint, { mountPoint, type, options: type === 'cgroup' ? kept.join(',') : '' })
  }
  return [...found.values()]
}

/** A v1 cpuset group takes no process before it has CPUs and memory nodes. */
function inheritCpuset(group: string, parent: string): void {
  for (const file of ['cpuset.cpus', 'cpuset.mems']) {
    if (existsSync(join(group, file)) && existsSync(join(parent, file)))
      writeFileSync(join(group, file), readFileSync(join(parent, file), 'utf8').trim())
  }
}

/** Folders of this host's group, one a hierarchy; made where they are missing. */
export function makeHostGroups(layout: Layout, host: Host): string[] {
  return hierarchies().map(({ mountPoint, type }) => {
    const cluster = join(mountPoint, layout.cgroup)
    const group = join(cluster, host.name)
    mkdirSync(group, { recursive: true })
    if (type === 'cgroup') {
      inheritCpuset(cluster, mountPoint)
      inheritCpuset(group, cluster)
    }
    return group
  })
}

function removeTree(group: string): boolean {
  if (!existsSync(group)) return true
  for (const entry of readdirSync(group, { withFileTypes: true })) {
    if (entry.isDirectory()) removeTree(join(group, entry.name))
  }
  try {
    rmdirSync(group)
    return true
  } catch {
    return false // Still has a process that is just ending; the caller tries again.
  }
}

/** Removes the groups below `name` (a host of this cluster, or all of it); throws where one stays busy for 5 s. */
export async function removeGroups(layout: Layout, name?: string): Promise<void> {
  const groups = hierarchies().map(({ mountPoint }) => join(mountPoint, layout.cgroup, name ?? ''))
  const gone = await waitFor(() => groups.map(removeTree).every(Boolean), { timeoutMs: 5000 })
  if (!gone) throw new Error(`groups still have processes: ${groups.filter((group) => existsSync(group)).join(' ')}`)
}

/** Folders of this cluster's groups that exist, for checks. */
export function existingGroups(layout: Layout): string[] {
  return hierarchies()
    .map(({ mountPoint }) => join(mountPoint, layout.cgroup))
    .filter((group) => existsSync(group))
}

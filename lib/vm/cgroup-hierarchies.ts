// Where this host's cgroups are, version 1 and 2, and which limits go into which file. It reads; it changes nothing.
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** What a run is held by. `cpu` and `cpuacct` only count. */
export const controllers = ['memory', 'pids', 'cpuset', 'cpuacct'] as const
export type Controller = (typeof controllers)[number]

/** Version 1: a folder for each controller that is mounted (two may share one). Version 2: one for all that the host has. */
export interface CgroupHierarchies {
  readonly version: 1 | 2
  readonly folders: ReadonlyMap<Controller, string>
}

export interface CgroupLimits {
  readonly memoryMib: number
  readonly pidsMax: number
  /** Host CPUs; without them the run may use all. */
  readonly cpus?: readonly number[]
}

/** A host with any of our controllers in version 1 is one of version 1 (the unified hierarchy beside it holds no limits). */
export async function findCgroups(mountinfoPath = '/proc/self/mountinfo'): Promise<CgroupHierarchies> {
  const mounts = parseMounts(await readFile(mountinfoPath, 'utf8'))
  const folders = new Map<Controller, string>()
  for (const { type, folder, options } of mounts) {
    if (type !== 'cgroup') continue
    for (const controller of controllers) {
      if (options.includes(controller) && !folders.has(controller)) folders.set(controller, folder)
    }
  }
  if (folders.size > 0) return { version: 1, folders }
  const unified = mounts.find(({ type }) => type === 'cgroup2')?.folder
  if (unified === undefined) return { version: 2, folders }
  return { version: 2, folders: await unifiedFolders(unified) }
}

/** The controllers of a mounted version 2 hierarchy; CPU time is counted in all of them. */
export async function unifiedFolders(folder: string): Promise<Map<Controller, string>> {
  const has = (await readFile(join(folder, 'cgroup.controllers'), 'utf8')).trim().split(' ')
  const present = controllers.filter((controller) => controller === 'cpuacct' || has.includes(controller))
  return new Map(present.map((controller) => [controller, folder]))
}

function parseMounts(mountinfo: string): { type: string; folder: string; options: string[] }[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [before = '', after = ''] = line.split(' - ')
    const folder = before.split(' ')[4]
    const [type = '', , options = ''] = after.split(' ')
    if (folder === undefined) return []
    return [{ type, folder: unescapeMount(folder), options: options.split(',') }]
  })
}

/** mountinfo writes blanks and backslashes in octal. */
function unescapeMount(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)))
}

export interface LimitWrite {
  readonly controller: Controller
  readonly file: string
  readonly value: string
  /** `optional`: kernels without swap accounting lack the file. */
  readonly need: 'required' | 'optional'
}

/** Memory and pids, in the order in which the kernel takes them, also over older limits. No swap: a VM that swaps stalls. */
export function limitWrites(version: 1 | 2, { memoryMib, pidsMax }: CgroupLimits): readonly LimitWrite[] {
  const bytes = String(memoryMib * 1024 * 1024)
  const pids: LimitWrite = { controller: 'pids', file: 'pids.max', value: String(pidsMax), need: 'required' }
  const memory = (file: string, value: string, need: LimitWrite['need']): LimitWrite => ({
    controller: 'memory',
    file: `memory.${file}`,
    value,
    need,
  })
  if (version === 2) return [memory('max', bytes, 'required'), memory('swap.max', '0', 'optional'), pids]
  return [
    memory('memsw.limit_in_bytes', '-1', 'optional'),
    memory('limit_in_bytes', bytes, 'required'),
    memory('memsw.limit_in_bytes', bytes, 'optional'),
    pids,
  ]
}

/** `0-2,5` as numbers. */
export function parseCpuList(text: string): number[] {
  return text
    .trim()
    .split(',')
    .filter((part) => part !== '')
    .flatMap((part) => {
      const [first = 0, last = first] = part.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, at) => first + at)
    })
}

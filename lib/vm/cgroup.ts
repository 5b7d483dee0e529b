// A run's cgroup PARENT/RUN: limits, membership, what it used, and its end. It touches no group outside its parent.
import assert from 'node:assert/strict'
import { mkdir, readdir, readFile, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { VmrmError } from '../errors/vmrm-error.ts'
import {
  type CgroupHierarchies,
  type CgroupLimits,
  type Controller,
  findCgroups,
  limitWrites,
  parseCpuList,
} from './cgroup-hierarchies.ts'

export interface CgroupName {
  /** Directly below the root of each hierarchy, such as `vmrm`. */
  readonly parent: string
  /** `j123r0`. */
  readonly run: string
  /** Default: this host's. */
  readonly hierarchies?: CgroupHierarchies
}

export interface RunCgroup {
  /** Moves a process with all its threads into the group. A process that has ended is `vm-lost`. */
  add(pid: number): Promise<void>
  pids(): Promise<number[]>
  /** Since the group was made; undefined where the host does not count it. */
  usage(): Promise<{ peakMemoryBytes: number | undefined; cpuTimeNs: number | undefined }>
  /** SIGKILL to all in it, and removes it; a group that is gone is fine. `node-fault` when it is still there after `timeoutMs`. */
  killAndRemove(options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<void>
}

/**
 * Makes the group, or takes the one there is, and sets its limits. `skipped` says, for the log, which limits this host
 * cannot hold: a controller that is missing, CPUs it does not have. `node-fault` when the kernel refuses.
 */
export async function createRunCgroup(
  options: CgroupName & { readonly limits: CgroupLimits },
): Promise<{ group: RunCgroup; skipped: readonly string[] }> {
  const { limits, parent, run } = options
  const hierarchies = options.hierarchies ?? (await findCgroups())
  const { version, folders } = hierarchies
  const group = openGroup({ parent, run, hierarchies })
  const skipped: string[] = []
  try {
    for (const folder of new Set(folders.values())) {
      await mkdir(join(folder, parent), { recursive: true })
      if (version === 2) skipped.push(...(await delegate(folder, parent, [...folders.keys()])))
      await mkdir(join(folder, parent, run), { recursive: true })
    }
    for (const { controller, file, value, need } of limitWrites(version, limits)) {
      const folder = folders.get(controller)
      if (folder === undefined) skipped.push(`${file}: this host has no controller ${controller}`)
      else await write(join(folder, parent, run, file), value, need)
    }
    skipped.push(...(await setCpus({ ...hierarchies, parent, run, cpus: limits.cpus })))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new VmrmError('node-fault', `The cgroup ${parent}/${run} cannot be made: ${why}`, { cause })
  }
  return { group, skipped: [...new Set(skipped)] }
}

/** The group of a run as it may be there; nothing is made. */
export async function openRunCgroup(name: CgroupName): Promise<RunCgroup> {
  return openGroup({ ...name, hierarchies: name.hierarchies ?? (await findCgroups()) })
}

/** Names of all runs that have a group under the parent. */
export async function listRunCgroups(options: Omit<CgroupName, 'run'>): Promise<string[]> {
  const { folders } = options.hierarchies ?? (await findCgroups())
  const runs = await Promise.all(
    [...new Set(folders.values())].map(async (folder) => {
      const entries = await readdir(join(folder, options.parent), { withFileTypes: true }).catch(ignoreMissing)
      return (entries ?? []).filter((entry) => entry.isDirectory()).map((entry) => entry.name)
    }),
  )
  return [...new Set(runs.flat())].sort()
}

function openGroup({ parent, run, hierarchies }: Required<CgroupName>): RunCgroup {
  assert(/^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/.test(parent) && /^[A-Za-z0-9_-]+$/.test(run), `cgroup ${parent}/${run}`)
  const { version, folders } = hierarchies
  const groups = [...new Set(folders.values())].map((folder) => join(folder, parent, run))
  const fileOf = (controller: Controller, file: string) => {
    const folder = folders.get(controller)
    return folder === undefined ? Promise.resolve(undefined) : readText(join(folder, parent, run, file))
  }
  const pids = async () => {
    const lists = await Promise.all(groups.map((group) => readText(join(group, 'cgroup.procs'))))
    return [...new Set(lists.flatMap((list = '') => list.split('\n').filter(Boolean).map(Number)))]
  }
  return {
    pids,
    async add(pid) {
      for (const group of groups) {
        await writeFile(join(group, 'cgroup.procs'), String(pid), { flag: 'r+' }).catch((cause) => {
          if (cause.code !== 'ESRCH') throw cause
          throw new VmrmError('vm-lost', `The process ${pid} ended before it was in its cgroup ${parent}/${run}.`)
        })
      }
    },
    async usage() {
      if (version === 1) {
        const peak = await fileOf('memory', 'memory.max_usage_in_bytes')
        return { peakMemoryBytes: toNumber(peak), cpuTimeNs: toNumber(await fileOf('cpuacct', 'cpuacct.usage')) }
      }
      // memory.peak came with Linux 5.19; before it only the present value is known
      const peak = (await fileOf('memory', 'memory.peak')) ?? (await fileOf('memory', 'memory.current'))
      const micros = /^usage_usec (\d+)$/m.exec((await fileOf('cpuacct', 'cpu.stat')) ?? '')?.[1]
      return { peakMemoryBytes: toNumber(peak), cpuTimeNs: micros === undefined ? undefined : Number(micros) * 1000 }
    },
    async killAndRemove({ timeoutMs, signal }) {
      const deadline = performance.now() + timeoutMs
      for (;;) {
        signal?.throwIfAborted()
        const left = await pids()
        if (left.length === 0 && (await removeAll(groups))) return
        for (const pid of left) kill(pid)
        if (performance.now() > deadline) {
          throw new VmrmError('node-fault', `The cgroup ${parent}/${run} is still there after ${timeoutMs} ms.`, {
            quoted: `processes: ${left.join(' ') || 'none'}`,
          })
        }
        await delay(10, undefined, { signal })
      }
    },
  }
}

/** Version 2: a group has a controller's files only if all above it pass that controller on. */
async function delegate(folder: string, parent: string, wanted: readonly Controller[]): Promise<string[]> {
  const refused: string[] = []
  for (const controller of wanted.filter((one) => one !== 'cpuacct')) {
    for (const above of [folder, join(folder, parent)]) {
      await write(join(above, 'cgroup.subtree_control'), `+${controller}`, 'required').catch((error) =>
        refused.push(`${controller}: ${error.message}`),
      )
    }
  }
  return refused
}

/** Version 1 gives a new cpuset nothing, so the parent passes on what it has; then the run gets its share of it. */
async function setCpus(
  options: CgroupHierarchies & { parent: string; run: string; cpus: readonly number[] | undefined },
): Promise<string[]> {
  const { version, folders, parent, run, cpus } = options
  const root = folders.get('cpuset')
  if (root === undefined) return cpus === undefined ? [] : ['cpuset: this host has no such controller']
  const file = (folder: string, name: string) => join(folder, `cpuset.${name}`)
  const own = join(root, parent, run)
  if (version === 1) {
    for (const [above, below] of [
      [root, join(root, parent)],
      [join(root, parent), own],
    ] as const) {
      for (const name of ['mems', 'cpus']) {
        const inherited = (await readText(file(above, name))) ?? ''
        if ((await readText(file(below, name)))?.trim() === '')
          await write(file(below, name), inherited.trim(), 'required')
      }
    }
  }
  if (cpus === undefined) return []
  const effective = version === 1 ? 'cpus' : 'cpus.effective'
  const available = new Set(parseCpuList((await readText(file(join(root, parent), effective))) ?? ''))
  const usable = cpus.filter((cpu) => available.has(cpu))
  if (usable.length > 0) await write(file(own, 'cpus'), usable.join(','), 'required')
  const missing = cpus.filter((cpu) => !available.has(cpu))
  return missing.length === 0
    ? []
    : [`CPUs ${missing.join(',')}: not on this host (it has ${[...available].join(',')})`]
}

/** False when one is in use still: the kernel is a moment behind the end of its processes. */
async function removeAll(groups: readonly string[]): Promise<boolean> {
  const results = await Promise.all(
    groups.map((group) =>
      rmdir(group).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'ENOENT') return true
          if (error.code === 'EBUSY') return false
          throw error
        },
      ),
    ),
  )
  return results.every(Boolean)
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

/** Into a file that the kernel has made; never makes one. */
async function write(path: string, value: string, need: 'required' | 'optional'): Promise<void> {
  await writeFile(path, value, { flag: 'r+' }).catch((error: NodeJS.ErrnoException) => {
    // EINVAL and EBUSY: without swap accounting, or a use above the limit, in which case the required limit says so
    if (need === 'required' || !['ENOENT', 'EINVAL', 'EBUSY'].includes(error.code ?? '')) throw error
  })
}

async function readText(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(ignoreMissing)
}

/** ENODEV: the group went away while the file was open. */
function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENODEV') throw error
}

function toNumber(text: string | undefined): number | undefined {
  return text === undefined || !/^\d+\s*$/.test(text) ? undefined : Number(text)
}

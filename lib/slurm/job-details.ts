// What Slurm says of a job's allocation. Pure parsers of the output of scontrol and squeue.
// Job names and the like are users' text and may hold lines that look like Slurm's own; see parseJobDetails().
import { VmrmError } from '../errors/vmrm-error.ts'
import type { NodeAllocation } from '../job/sizing.ts'
import { type TaskLayout, tasksOnNodes } from '../job/slots.ts'
import { parseCpuList } from './cpu-list.ts'
import { expandHostlist } from './hostlist.ts'

export interface AllocationOnNode extends NodeAllocation {
  /** Slurm's abstract CPU numbers; empty where Slurm did not tell. */
  readonly cpuIds: readonly number[]
  /** Tasks that Slurm places here; its CPUs where Slurm did not tell. */
  readonly tasks: number
}

/**
 * The allocation on each of `nodes` from `scontrol --details show job`, or undefined if the text is ambiguous.
 * Slurm's own lines are always there, so a line that a user smuggled in makes a second one for some node: every node
 * must appear exactly once, and no other node at all.
 */
export function parseJobDetails(
  text: string,
  job: number,
  nodes: readonly string[],
): readonly AllocationOnNode[] | undefined {
  const blocks = text.split(/^(?=JobId=\d+ )/m).filter((block) => block.startsWith(`JobId=${job} `))
  const found = new Map<string, Omit<AllocationOnNode, 'tasks'>>()
  for (const match of blocks.join('\n').matchAll(/(?:^|\s)Nodes=(\S+) CPU_IDs=(\S+) Mem=(\d+) GRES=/g)) {
    const [, hosts, cpuText, memoryText] = match
    if (hosts === undefined || cpuText === undefined) return undefined
    for (const node of expandHostlist(hosts)) {
      if (found.has(node)) return undefined
      const cpuIds = parseCpuList(cpuText)
      found.set(node, { node, cpus: cpuIds.length, cpuIds, memoryMib: Number(memoryText) })
    }
  }
  const all = nodes.flatMap((node) => found.get(node) ?? [])
  if (all.length !== nodes.length || found.size !== nodes.length) return undefined
  const cpus = all.map((entry) => entry.cpus)
  const layout = parseTaskLayout(blocks.join('\n'))
  const tasks = layout === undefined ? cpus : tasksOnNodes(cpus, layout)
  return all.map((entry, at) => ({ ...entry, tasks: tasks[at] ?? entry.cpus }))
}

/** Undefined where a user's text made a second line of one of these: what is wrong there spoils the user's own host file. */
function parseTaskLayout(block: string): TaskLayout | undefined {
  const counts = [...block.matchAll(/^ +NumNodes=\S+ NumCPUs=\d+ NumTasks=(\d{1,9}) CPUs\/Task=(\d{1,6}) /gm)]
  const perNode = [...block.matchAll(/^ +Socks\/Node=\S+ NtasksPerN:B:S:C=(\d{1,5}):/gm)]
  if (counts.length !== 1 || perNode.length !== 1) return undefined
  const [, tasks, cpusPerTask] = counts[0] ?? []
  return { tasks: Number(tasks), cpusPerTask: Number(cpusPerTask), perNode: Number(perNode[0]?.[1]) }
}

interface SqueueNode {
  readonly nodename?: string
  readonly memory_allocated?: number
  readonly sockets?: Record<string, { cores?: Record<string, string> }>
}

interface SqueueJson {
  jobs?: {
    job_id?: number
    cpus?: number
    job_resources?: { allocated_cores?: number; allocated_nodes?: readonly SqueueNode[] }
  }[]
}

/**
 * The same from `squeue --json`, which cannot be confused but lists every job of the cluster (22.05 has no filter),
 * so it is asked only when the short way is ambiguous. It tells cores and not CPUs, so such a job is not pinned.
 */
export function parseSqueueJson(text: string, job: number, nodes: readonly string[]): readonly AllocationOnNode[] {
  const entry = ((JSON.parse(text) as SqueueJson).jobs ?? []).find((each) => each.job_id === job)
  const { allocated_cores: allCores = 0, allocated_nodes: allocated = [] } = entry?.job_resources ?? {}
  const cpusPerCore = Math.max(1, Math.floor((entry?.cpus ?? 0) / Math.max(1, allCores)))
  return nodes.map((node) => {
    const found = allocated.find((each) => each.nodename === node)
    const cores = Object.values(found?.sockets ?? {}).flatMap((socket) => Object.values(socket.cores ?? {}))
    const count = cores.filter((state) => state.startsWith('allocated')).length
    if (count === 0) throw new VmrmError('command-failed', `squeue does not tell job ${job}'s CPUs on node ${node}`)
    const cpus = count * cpusPerCore
    return { node, cpus, cpuIds: [], memoryMib: found?.memory_allocated ?? 0, tasks: cpus }
  })
}

export type JobState = 'pending' | 'active' | 'completing' | 'ended'

/** Jobs and their states from `squeue --all --states=all --noheader --format='%A %T'`; no user's text is in it. */
export function parseJobStates(text: string): ReadonlyMap<number, JobState> {
  const states = new Map<number, JobState>()
  for (const line of text.split('\n')) {
    const match = /^(\d+) ([A-Z_]+)$/.exec(line.trim())
    if (match?.[2] === undefined) continue
    states.set(Number(match[1]), stateOf(match[2]))
  }
  return states
}

function stateOf(name: string): JobState {
  if (['RUNNING', 'CONFIGURING', 'SUSPENDED', 'STOPPED', 'SIGNALING', 'STAGE_OUT', 'RESIZING'].includes(name))
    return 'active'
  if (name === 'COMPLETING') return 'completing'
  if (['PENDING', 'REQUEUED', 'REQUEUE_HOLD', 'REQUEUE_FED', 'SPECIAL_EXIT', 'RESV_DEL_HOLD'].includes(name))
    return 'pending'
  return 'ended'
}

/**
 * `free`: the node answers Slurm and nothing of a job is left on it, since an Epilog that fails drains the node.
 * `off`: powered down by Slurm. `doubtful`: it has jobs, does not answer, or is down or drained for whatever reason.
 */
export type NodeState = 'free' | 'off' | 'doubtful'

/** Nodes and their states from `sinfo --Node --format='%N %T'`; a node of several partitions comes several times. */
export function parseNodeStates(text: string): ReadonlyMap<string, NodeState> {
  const states = new Map<string, NodeState>()
  for (const line of text.split('\n')) {
    const [, node, state = '', flag = ''] = /^(\S+) ([a-z_]+)([*~#!%$@^-]?)$/.exec(line.trim()) ?? []
    if (node === undefined) continue
    states.set(node, nodeStateOf(state, flag))
  }
  return states
}

function nodeStateOf(state: string, flag: string): NodeState {
  if (state === 'powered_down' || (state === 'idle' && flag === '~')) return 'off'
  const isIdle = state === 'idle' || state === 'reserved' || state === 'planned'
  return isIdle && (flag === '' || flag === '-' || flag === '$') ? 'free' : 'doubtful'
}

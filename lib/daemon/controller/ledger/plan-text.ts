// The plan of a run as the ledger keeps it and as shares tell of it: in ranges, since a plan of ten thousand VMs is otherwise
// megabytes to write, read and send. Pure.
import { z } from 'zod'
import { strategies } from '../../../job/decision.ts'
import type { PlannedNode, RunPlan } from '../../../job/plan.ts'
import {
  packAddresses,
  packCounts,
  packMacs,
  packNames,
  parseAddresses,
  parseCounts,
  parseMacs,
  parseNames,
} from '../../../network/sequences.ts'
import { layoutSchema, mostVms, type RunLayout } from '../../../protocol/messages/share.ts'
import { parseCpuList, renderCpuList } from '../../../slurm/cpu-list.ts'

const textSchema = z.strictObject({
  image: z.string(),
  revision: z.string(),
  strategy: z.enum(strategies).optional(),
  vni: z.int(),
  prefixLength: z.int(),
  gateway: z.string(),
  sshSecret: z.string().optional(),
  layout: layoutSchema,
  /** Nodes in their order; `times` of them that follow each other have the same. */
  nodes: z.array(
    z.strictObject({
      times: z.int().min(1).max(mostVms),
      cpus: z.string(),
      memoryMib: z.int(),
      vmCpus: z.string(),
      vmMemoryMib: z.string(),
    }),
  ),
})

type PlanText = z.infer<typeof textSchema>
type Group = PlanText['nodes'][number]
/** As in a share. */
export type NodeSizes = Omit<Group, 'times'>

const layouts = new WeakMap<RunPlan, RunLayout>()

/** The names and numbers of all nodes and VMs, in ranges; made once a plan. */
export function layoutOf(plan: RunPlan): RunLayout {
  const known = layouts.get(plan)
  if (known !== undefined) return known
  const { nodes } = plan
  const vms = nodes.flatMap((node) => node.vms)
  const slots = vms.flatMap((vm) => vm.slots ?? [])
  const layout = {
    nodes: packNames(nodes.map(({ node }) => node)),
    underlays: packAddresses(nodes.map(({ underlay }) => underlay)),
    vms: packCounts(nodes.map((node) => node.vms.length)),
    hostnames: packNames(vms.map(({ hostname }) => hostname)),
    addresses: packAddresses(vms.map(({ address }) => address)),
    macs: packMacs(vms.map(({ mac }) => mac)),
    ...(slots.length === vms.length ? { slots: packCounts(slots) } : {}),
  }
  layouts.set(plan, layout)
  return layout
}

/** What is a node's own: its CPUs and memory, and those of its VMs. */
export function ownOf(node: PlannedNode): NodeSizes {
  return {
    cpus: node.cpuIds.length === 0 ? '' : renderCpuList(node.cpuIds),
    memoryMib: node.memoryMib,
    vmCpus: packCounts(node.vms.map(({ vcpus }) => vcpus)),
    vmMemoryMib: packCounts(node.vms.map(({ memoryMib }) => memoryMib)),
  }
}

/** Plans do not change, and a thousand nodes ask about one within a second. */
const opened = new Map<string, RunPlan>()
const openedAtMost = 64

export function packPlan(plan: RunPlan): string {
  const { nodes, ...rest } = plan
  const groups: Group[] = []
  for (const node of nodes) {
    const own = ownOf(node)
    const last = groups.at(-1)
    const isSame = last !== undefined && Object.entries(own).every(([key, value]) => last[key as keyof Group] === value)
    if (isSame) last.times += 1
    else groups.push({ times: 1, ...own })
  }
  const text = JSON.stringify({ ...rest, layout: layoutOf(plan), nodes: groups } satisfies PlanText)
  remember(text, plan)
  return text
}

/** The inverse. Throws for a text that is none. */
export function unpackPlan(text: string): RunPlan {
  const known = opened.get(text)
  const plan = known ?? readPlan(text)
  remember(text, plan)
  return plan
}

/** The last that were asked for. */
function remember(text: string, plan: RunPlan): void {
  opened.delete(text)
  opened.set(text, plan)
  const [oldest] = opened.keys()
  if (opened.size > openedAtMost && oldest !== undefined) opened.delete(oldest)
}

function readPlan(text: string): RunPlan {
  const { layout, nodes: groups, ...rest } = textSchema.parse(JSON.parse(text))
  const ofNodes = groups.flatMap((group) => Array.from({ length: group.times }, () => group))
  const plan = { ...rest, nodes: nodesOf(layout, (_, at) => ofNodes[at]) }
  layouts.set(plan, layout)
  return plan
}

/** All nodes of a layout with their VMs; `own` says what each of them has. Throws `message-invalid` for a layout that is none. */
export function nodesOf(
  layout: RunLayout,
  own: (node: string, at: number) => NodeSizes | undefined,
): readonly PlannedNode[] {
  const all = (parse: typeof parseNames, packed: string) => parse(packed, mostVms).slice(0, mostVms)
  const underlays = all(parseAddresses, layout.underlays)
  const counts = parseCounts(layout.vms, mostVms)
  const hostnames = all(parseNames, layout.hostnames)
  const addresses = all(parseAddresses, layout.addresses)
  const macs = all(parseMacs, layout.macs)
  const slots = layout.slots === undefined ? [] : parseCounts(layout.slots, mostVms)
  const sizesOf = remembered(openSizes)
  let index = 0
  return all(parseNames, layout.nodes).map((node, at): PlannedNode => {
    const sizes = sizesOf(own(node, at) ?? noSizes)
    const vms = Array.from({ length: counts[at] ?? 0 }, (_, position) => {
      const vm = index++
      const place = { hostname: hostnames[vm] ?? '', mac: macs[vm] ?? '', address: addresses[vm] ?? '' }
      const size = { vcpus: sizes.vcpus[position] ?? 1, memoryMib: sizes.memory[position] ?? 1 }
      return { index: vm, ...place, ...size, ...(slots[vm] === undefined ? {} : { slots: slots[vm] }) }
    })
    return { node, underlay: underlays[at] ?? '', cpuIds: sizes.cpuIds, memoryMib: sizes.memoryMib, vms }
  })
}

const noSizes: NodeSizes = { cpus: '', memoryMib: 1, vmCpus: '1', vmMemoryMib: '1' }

function openSizes({ cpus, memoryMib, vmCpus, vmMemoryMib }: NodeSizes) {
  return {
    memoryMib,
    cpuIds: cpus === '' ? [] : [...parseCpuList(cpus)],
    vcpus: parseCounts(vmCpus, mostVms),
    memory: parseCounts(vmMemoryMib, mostVms),
  }
}

/** Neighbours share what they have. */
function remembered<T extends object, R>(make: (key: T) => R): (key: T) => R {
  const made = new Map<T, R>()
  return (key) => {
    const known = made.get(key) ?? make(key)
    made.set(key, known)
    return known
  }
}

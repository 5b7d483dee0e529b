// The plan of a run: every VM of it, on every node, with the names and numbers leased for it. Pure data and its reader.
import { z } from 'zod'

const plannedVm = z.strictObject({
  /** Counts over the whole run. */
  index: z.int().min(0),
  hostname: z.string(),
  mac: z.string(),
  /** IPv4 without prefix. */
  address: z.string(),
  vcpus: z.int().min(1),
  memoryMib: z.int().min(1),
  /** Tasks of the job in this VM, as Slurm places them; absent in plans of an older version. */
  slots: z.int().min(0).optional(),
})

const plannedNode = z.strictObject({
  node: z.string(),
  /** Where other nodes reach this one (VXLAN). */
  underlay: z.string(),
  /** Slurm's abstract CPU numbers of the job on this node; empty where unknown. */
  cpuIds: z.array(z.int()),
  /** All of the job's memory on this node: the limit of the run's cgroup. */
  memoryMib: z.int().min(1),
  vms: z.array(plannedVm).min(1),
})

export const runPlanSchema = z.strictObject({
  image: z.string(),
  revision: z.string(),
  vni: z.int().min(1).max(0xff_ffff),
  /** Prefix length of the run's network. */
  prefixLength: z.int().min(1).max(30),
  gateway: z.string(),
  /** What the run's SSH keys are derived from, in hexadecimal; absent in plans of an older version. */
  sshSecret: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  nodes: z.array(plannedNode).min(1),
})

export type RunPlan = z.infer<typeof runPlanSchema>
export type PlannedNode = z.infer<typeof plannedNode>
export type PlannedVm = z.infer<typeof plannedVm>

export interface HostEntry {
  readonly address: string
  readonly name: string
  readonly aliases: readonly string[]
  readonly slots?: number
}

/** Names of all VMs of the run, for every VM's hosts file: a node's Slurm name is its first VM's alias. */
export function hostEntries(plan: RunPlan): readonly HostEntry[] {
  return plan.nodes.flatMap((node) =>
    node.vms.map((vm, position) => ({
      address: vm.address,
      name: vm.hostname,
      aliases: position === 0 ? [node.node] : [],
      ...(vm.slots === undefined ? {} : { slots: vm.slots }),
    })),
  )
}

// A node's share of a run, as the controller hands it out and the journal keeps it. Pure data.
import { z } from 'zod'
import { hostEntries, type RunPlan } from '../../job/plan.ts'

export const shareSchema = z.strictObject({
  image: z.string(),
  revision: z.string(),
  vni: z.int().min(1).max(0xff_ffff),
  prefixLength: z.int().min(1).max(30),
  gateway: z.string(),
  /** The run's nodes, this one among them, and where they are reached. */
  peers: z.array(z.strictObject({ node: z.string(), underlay: z.string() })),
  cpuIds: z.string(),
  memoryMib: z.int().min(1),
  vms: z.array(
    z.strictObject({
      index: z.int().min(0),
      hostname: z.string(),
      mac: z.string(),
      address: z.ipv4(),
      vcpus: z.int().min(1),
      memoryMib: z.int().min(1),
    }),
  ),
  hosts: z.array(z.strictObject({ address: z.ipv4(), name: z.string(), alias: z.string().optional() })),
  deadlineMs: z.int(),
})

/** What one node has to make for a run. `cpuIds` is a CPU list of Slurm's abstract numbers, empty where unknown. */
export type Share = z.infer<typeof shareSchema>

/** The share of `node`, or undefined if the plan has nothing for it. */
export function shareOf(plan: RunPlan, node: string, deadlineMs: number): Share | undefined {
  const planned = plan.nodes.find((entry) => entry.node === node)
  if (planned === undefined) return undefined
  return {
    image: plan.image,
    revision: plan.revision,
    vni: plan.vni,
    prefixLength: plan.prefixLength,
    gateway: plan.gateway,
    peers: plan.nodes.map((entry) => ({ node: entry.node, underlay: entry.underlay })),
    cpuIds: planned.cpuIds.join(','),
    memoryMib: planned.memoryMib,
    vms: planned.vms,
    hosts: hostEntries(plan).map(({ address, name, aliases }) => ({
      address,
      name,
      ...(aliases[0] === undefined ? {} : { alias: aliases[0] }),
    })),
    deadlineMs,
  }
}

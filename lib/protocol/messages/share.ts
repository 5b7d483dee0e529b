// A node's share of a run: what the controller hands out and what the node keeps in its journal. What all VMs of the run have is
// told in ranges, the same for every node: the names of 16,384 VMs on 1,024 nodes would be too long for any message.
import { z } from 'zod'
import { cpuList, hostName, imageName, imageRevision, instant, ipAddress, ownerFields, strategy } from './common.ts'

const largestVni = 0xff_ffff
/** Of a whole run; what a hostile text could stand for has this bound, too. */
export const mostVms = 65_536
/** Of each list of ranges. */
export const longestText = 131_072
const names = z
  .string()
  .max(longestText)
  .regex(/^([A-Za-z0-9._,+-]|\[|\])+$/)
const addresses = z
  .string()
  .max(longestText)
  .regex(/^[0-9.,+]+$/)
const macs = z
  .string()
  .max(longestText)
  .regex(/^[0-9a-f:,+]+$/)
const counts = z
  .string()
  .max(longestText)
  .regex(/^[0-9,*]+$/)

/** All nodes and VMs of a run in their order, as lib/network/sequences.ts writes them. */
export const layoutSchema = z.strictObject({
  /** Slurm's names of the nodes. */
  nodes: names,
  /** Where the nodes' daemons reach each other (VXLAN). */
  underlays: addresses,
  /** How many VMs each node has. */
  vms: counts,
  /** The VMs' names, addresses and MAC addresses. */
  hostnames: names,
  addresses,
  macs,
  /** Tasks of the job in each VM; absent where Slurm did not tell. */
  slots: counts.optional(),
})

export type RunLayout = z.output<typeof layoutSchema>

export const share = z.strictObject({
  /** Until when the node must have reported. */
  deadline: instant,
  image: z.strictObject({ name: imageName, revision: imageRevision }),
  /** Absent: all-or-nothing. */
  strategy: strategy.optional(),
  ...ownerFields,
  vni: z.int().min(1).max(largestVni),
  /** Of the run's network. */
  prefixLength: z.int().min(1).max(30),
  /** Absent on a site's bridge without one. */
  gateway: ipAddress.optional(),
  /** The node's CPUs of the job, in Slurm's abstract numbers; empty where Slurm did not tell. */
  cpus: cpuList,
  /** The job's memory on the node: the limit of all its VMs together. */
  memoryMib: z.int().min(1),
  /** The node's name, which is one of the layout's. */
  node: hostName,
  /** vCPUs and memory of each VM of the node. */
  vmCpus: counts,
  vmMemoryMib: counts,
  layout: layoutSchema,
  /** What the run's SSH keys are derived from. No guest ever gets it. */
  sshSecret: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
})

/** Memory is MiB. */
export type ShareMessage = z.output<typeof share>

export interface SharedVm {
  /** Counts over the whole run. */
  readonly index: number
  readonly name: string
  readonly hostname: string
  readonly mac: string
  readonly address: string
  readonly vcpus: number
  readonly memoryMib: number
}

/** Another node of the run: where its daemon's tunnels end, and its VMs. */
export interface Peer {
  readonly node: string
  readonly address: string
  readonly vms: readonly { readonly mac: string; readonly address: string }[]
}

/** A share as the node works with it. */
export interface Share extends ShareMessage {
  /** The node's own. */
  readonly vms: readonly SharedVm[]
  /** Made when it is asked for: every other VM of the run is in it. */
  readonly peers: () => readonly Peer[]
  /** As it came: what the journal keeps. */
  readonly message: ShareMessage
}

// The plan of a run: every VM of it, on every node, with the names and numbers leased for it. Pure data.
import type { Strategy } from './decision.ts'

export interface PlannedVm {
  /** Counts over the whole run. */
  readonly index: number
  readonly hostname: string
  readonly mac: string
  /** IPv4 without prefix. */
  readonly address: string
  readonly vcpus: number
  readonly memoryMib: number
  /** Tasks of the job in this VM, as Slurm places them. */
  readonly slots?: number
}

export interface PlannedNode {
  readonly node: string
  /** Where other nodes reach this one (VXLAN). */
  readonly underlay: string
  /** Slurm's abstract CPU numbers of the job on this node; empty where unknown. */
  readonly cpuIds: readonly number[]
  /** All of the job's memory on this node: the limit of the run's cgroup. */
  readonly memoryMib: number
  readonly vms: readonly PlannedVm[]
}

export interface RunPlan {
  readonly image: string
  readonly revision: string
  /** Absent: all-or-nothing. */
  readonly strategy?: Strategy | undefined
  readonly vni: number
  /** Prefix length of the run's network. */
  readonly prefixLength: number
  readonly gateway: string
  /** What the run's SSH keys are derived from, in hexadecimal. */
  readonly sshSecret?: string | undefined
  readonly nodes: readonly PlannedNode[]
}

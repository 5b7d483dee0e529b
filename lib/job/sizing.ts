// How large the VMs of a job are: pure arithmetic from Slurm's allocation on a node and the image's limits.
import { VmrmError } from '../errors/vmrm-error.ts'

export interface NodeAllocation {
  /** Slurm's node name. */
  readonly node: string
  /** CPUs of the job on this node. */
  readonly cpus: number
  /** Memory of the job on this node, MiB; 0 where Slurm does not allocate memory. */
  readonly memoryMib: number
}

export interface SizeLimits {
  readonly minMemoryMib: number
  readonly maxMemoryMib: number
  readonly maxCpus: number
  readonly maxPerNode: number
}

export interface VmSize {
  readonly vcpus: number
  readonly memoryMib: number
}

/**
 * Sizes of the K VMs of a job on one node: the CPUs shared as evenly as whole CPUs allow (earlier VMs get the odd ones),
 * memory in equal parts after each VM's overhead. Throws `size-too-small` or `size-over-limit` with the numbers.
 */
export function sizeVms(options: {
  allocation: NodeAllocation
  perNode: number
  overheadMib: number
  limits: SizeLimits
  image: string
}): readonly VmSize[] {
  const { allocation, perNode, overheadMib, limits, image } = options
  const where = `on node ${allocation.node}`
  if (perNode > limits.maxPerNode) {
    throw new VmrmError(
      'size-over-limit',
      `image ${image} allows ${limits.maxPerNode} VMs a node; ${perNode} were asked for`,
      { hint: 'Ask for fewer with --vm-per-node.' },
    )
  }
  if (allocation.cpus < perNode) {
    throw new VmrmError(
      'size-too-small',
      `the job has ${allocation.cpus} CPUs ${where}; ${perNode} VMs need at least one each`,
    )
  }
  const memoryMib = memoryOfEach(options)
  if (memoryMib < limits.minMemoryMib) {
    throw new VmrmError(
      'size-too-small',
      `the job has ${allocation.memoryMib} MiB ${where}: ${memoryMib < 0 ? 'nothing' : `${memoryMib} MiB`} is left for each of ${perNode} VMs after ${overheadMib} MiB overhead a VM; image ${image} needs at least ${limits.minMemoryMib} MiB`,
    )
  }
  if (memoryMib > limits.maxMemoryMib) {
    throw new VmrmError(
      'size-over-limit',
      `the job has ${allocation.memoryMib} MiB ${where}: a VM would have ${memoryMib} MiB; image ${image} allows ${limits.maxMemoryMib} MiB`,
    )
  }
  const sizes = Array.from({ length: perNode }, (_, index) => ({
    vcpus: Math.floor(allocation.cpus / perNode) + (index < allocation.cpus % perNode ? 1 : 0),
    memoryMib,
  }))
  const largest = sizes[0]?.vcpus ?? 0
  if (largest > limits.maxCpus) {
    throw new VmrmError(
      'size-over-limit',
      `a VM would have ${largest} vCPUs ${where}; image ${image} allows ${limits.maxCpus}`,
    )
  }
  return sizes
}

function memoryOfEach(options: {
  allocation: NodeAllocation
  perNode: number
  overheadMib: number
  limits: SizeLimits
}): number {
  const { allocation, perNode, overheadMib, limits } = options
  // Where Slurm does not allocate memory the image's own limit is all there is to go by.
  if (allocation.memoryMib === 0) return limits.maxMemoryMib
  return Math.floor(allocation.memoryMib / perNode) - overheadMib
}

/** The VM (counted on its node) that local task `localId` of `localCount` runs in. */
export function vmOfTask(localId: number, localCount: number, perNode: number): number {
  return Math.min(perNode - 1, Math.floor((localId * perNode) / Math.max(1, localCount)))
}

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
  requireCount(perNode, limits, image)
  if (allocation.cpus < perNode) {
    throw new VmrmError(
      'size-too-small',
      `the job has ${allocation.cpus} CPUs ${where}; ${perNode} VMs need at least one each`,
    )
  }
  const memoryMib = memoryOfEach(options)
  if (memoryMib < limits.minMemoryMib) {
    const left = `${memoryMib < 0 ? 'nothing' : `${memoryMib} MiB`} is left for each of ${perNode} VMs`
    const needs = `after ${overheadMib} MiB overhead a VM; image ${image} needs at least ${limits.minMemoryMib} MiB`
    throw new VmrmError('size-too-small', `the job has ${allocation.memoryMib} MiB ${where}: ${left} ${needs}`)
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

/** Throws the same for VMs whose size was asked for. */
export function requireSize(options: { size: VmSize; perNode: number; limits: SizeLimits; image: string }): void {
  const { size, perNode, limits, image } = options
  requireCount(perNode, limits, image)
  const { vcpus, memoryMib } = size
  const askLess = { hint: 'Ask for less.' }
  if (vcpus > limits.maxCpus)
    throw new VmrmError('size-over-limit', `image ${image} allows ${limits.maxCpus} vCPUs a VM, not ${vcpus}`, askLess)
  if (memoryMib > limits.maxMemoryMib) {
    const text = `image ${image} allows ${limits.maxMemoryMib} MiB a VM, not ${memoryMib}`
    throw new VmrmError('size-over-limit', text, askLess)
  }
  if (memoryMib >= limits.minMemoryMib) return
  const text = `image ${image} needs at least ${limits.minMemoryMib} MiB a VM; ${memoryMib} were asked for`
  throw new VmrmError('size-too-small', text, { hint: 'Ask for more.' })
}

function requireCount(perNode: number, limits: SizeLimits, image: string): void {
  if (perNode <= limits.maxPerNode) return
  const text = `image ${image} allows ${limits.maxPerNode} VMs a node; ${perNode} were asked for`
  throw new VmrmError('size-over-limit', text, { hint: 'Ask for fewer with --vm-per-node.' })
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

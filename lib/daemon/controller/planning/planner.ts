// From a job to the plan of its VMs: checks the request again (the environment is hostile), asks Slurm for the allocation
// once, sizes the VMs, and takes leases. Nothing is changed but the ledger, inside the transaction that stores the plan.
import { randomBytes } from 'node:crypto'
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { chooseImage, chooseStrategy } from '../../../image/access.ts'
import type { PlannedNode, RunPlan } from '../../../job/plan.ts'
import type { Run } from '../../../job/run.ts'
import { requireSize, sizeVms, type VmSize } from '../../../job/sizing.ts'
import { tasksOnVms } from '../../../job/slots.ts'
import { addressPool } from '../../../network/address.ts'
import type { SlurmCommands } from '../../../slurm/commands.ts'
import type { VmRequest } from '../../../slurm/hook-environment.ts'
import { expandHostlist } from '../../../slurm/hostlist.ts'
import type { AllocationOnNode } from '../../../slurm/job-details.ts'
import { secretBytes } from '../../../ssh/run-keys.ts'
import { type Leases, type Pool, RangeFull } from '../ledger/leases.ts'
import { MustWait } from '../waiting-room.ts'
import { leasePools, requireRoom } from './lease-pools.ts'
import { requireFit } from './require-fit.ts'

interface RunRequest extends Run {
  readonly uid: number
  readonly gid: number
  readonly user: string
  readonly account: string
  readonly nodes: string
  readonly request?: VmRequest | undefined
  /** Why there is no request: what the user asked for cannot be read. */
  readonly refusal?: string | undefined
}

/** A job's; its VMs have the sizes that Slurm's allocation gives them. */
export interface JobRequest extends RunRequest {
  readonly selector: string
}

/** A batch's, which says itself how large each VM is; Slurm is not asked. */
export interface BatchRequest extends RunRequest {
  readonly vm: VmSize
  /** Less time than a job's VMs have. */
  readonly withinMs?: number | undefined
}

export type BeginRequest = JobRequest | BatchRequest

export interface Planner {
  /** Everything that can fail before leases are taken; the result takes them. Throws coded errors whose sentence the user reads. */
  plan(request: BeginRequest): Promise<(leases: Leases) => RunPlan>
}

export function createPlanner(options: {
  config: DaemonConfig
  slurm: SlurmCommands
  catalogue: () => Promise<ReadonlyMap<string, Image>>
  groupsOf: (user: string) => Promise<readonly string[]>
  underlayOf: (node: string) => Promise<string>
}): Planner {
  const { config, slurm } = options
  const { overheadMib } = config.hypervisor

  const sizedNodes = async (request: BeginRequest, names: readonly string[], image: Image, perNode: number) => {
    if ('vm' in request) {
      requireSize({ size: request.vm, perNode, limits: image.limits, image: image.name })
      return names.map((node) => sizedAlike({ node, size: request.vm, perNode, overheadMib }))
    }
    const allocations = await slurm.allocation(request.job, request.selector, names)
    return allocations.map((allocation) => sizedByAllocation({ allocation, image, perNode, overheadMib }))
  }

  return {
    async plan(request) {
      const { user, account, request: wanted } = request
      if (wanted === undefined) throw new VmrmError('request-invalid', request.refusal ?? 'no image was asked for')
      const [catalogue, groups] = await Promise.all([options.catalogue(), options.groupsOf(user)])
      const image = chooseImage(catalogue, wanted, { user, groups, account })
      requireOwner(request, image)
      const names = expandHostlist(request.nodes)
      const sized = await sizedNodes(request, names, image, wanted.perNode)
      const underlays = await Promise.all(names.map(options.underlayOf))
      const nodes = sized.map((node, at) => ({ ...node, underlay: underlays[at] ?? '' }))
      const strategy = chooseStrategy(image, wanted.strategy, config.transaction.strategy)
      return (leases) => {
        const leased = { ...lease({ leases, run: request, image, nodes, config }), strategy }
        requireFit(leased)
        return leased
      }
    },
  }
}

/**
 * Root's VMs are nobody on what the image exports (`lib/network/nfs-export.ts`), which is of use to few: a job of root's was
 * made so by root, but a batch is root's when nobody is named.
 */
function requireOwner(request: BeginRequest, image: Image): void {
  if (!('vm' in request) || request.uid !== 0 || !image.mounts.entries.some(({ kind }) => kind === 'export')) return
  const text = `VMs of image ${image.name} get folders of their nodes, and those of root's are nobody on them`
  throw new VmrmError('request-invalid', text, { hint: 'Name whose VMs they are with --user.' })
}

interface SizedNode extends Omit<PlannedNode, 'vms'> {
  readonly sizes: readonly (VmSize & { readonly slots: number })[]
}

type Sized = Omit<SizedNode, 'underlay'>

/** No CPUs are its own: Slurm gives none away, and a batch on a node beside jobs is an administrator's decision. */
function sizedAlike(options: { node: string; size: VmSize; perNode: number; overheadMib: number }): Sized {
  const { node, size, perNode, overheadMib } = options
  const sizes = Array.from({ length: perNode }, () => ({ ...size, slots: size.vcpus }))
  return { node, cpuIds: [], memoryMib: perNode * (size.memoryMib + overheadMib), sizes }
}

function sizedByAllocation(options: {
  allocation: AllocationOnNode
  image: Image
  perNode: number
  overheadMib: number
}): Sized {
  const { allocation, image, perNode, overheadMib } = options
  const sizes = sizeVms({ allocation, perNode, overheadMib, limits: image.limits, image: image.name })
  const needed = sizes.reduce((sum, size) => sum + size.memoryMib + overheadMib, 0)
  const tasks = tasksOnVms(allocation.tasks, sizes.length)
  const withSlots = sizes.map((size, at) => ({ ...size, slots: tasks[at] ?? size.vcpus }))
  const memoryMib = allocation.memoryMib === 0 ? needed : allocation.memoryMib
  return { node: allocation.node, cpuIds: [...allocation.cpuIds], memoryMib, sizes: withSlots }
}

function lease(options: {
  leases: Leases
  run: Run
  image: Image
  nodes: readonly SizedNode[]
  config: DaemonConfig
}): RunPlan {
  const { leases, run, image, nodes, config } = options
  const count = nodes.reduce((sum, node) => sum + node.sizes.length, 0)
  const addresses = addressPool(image.network)
  const pools = leasePools(image, config)
  requireRoom(pools, count)
  const take = (pool: Pool, wanted: number) => {
    try {
      return leases.take(pool, wanted, run)
    } catch (error) {
      if (error instanceof RangeFull && image.limits.onFull === 'wait')
        throw new MustWait(error, { image: image.name, vms: count })
      throw error
    }
  }
  const [vni] = take(pools.vni, 1)
  const names = take(pools.hostname, count)
  const numbers = take(pools.address, count)
  const macs = take(pools.mac, count)
  let index = 0
  return {
    image: image.name,
    revision: image.revision,
    vni: Number(vni),
    prefixLength: addresses.prefixLength,
    gateway: addresses.gateway ?? '',
    sshSecret: randomBytes(secretBytes).toString('hex'),
    nodes: nodes.map(({ sizes, ...node }) => ({
      ...node,
      vms: sizes.map((size) => {
        const at = index++
        return {
          index: at,
          hostname: names[at] ?? '',
          mac: macs[at] ?? '',
          address: numbers[at] ?? '',
          ...size,
        }
      }),
    })),
  }
}

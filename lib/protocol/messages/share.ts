// A node's share of a run: what the controller hands out, and what the node keeps in its journal.
import { z } from 'zod'
import { list } from '../schema/fields.ts'
import {
  cpuList,
  hostName,
  imageName,
  imageRevision,
  instant,
  ipAddress,
  macAddress,
  ownerFields,
  vmName,
} from './common.ts'

const largestVni = 0xff_ffff
const addressed = { mac: macAddress, address: ipAddress }

export const share = z.strictObject({
  /** Until when the node must have reported. */
  deadline: instant,
  image: z.strictObject({ name: imageName, revision: imageRevision }),
  ...ownerFields,
  vni: z.int().min(1).max(largestVni),
  /** Of the run's network. */
  prefixLength: z.int().min(1).max(30),
  /** Absent on a site's bridge without one. */
  gateway: ipAddress.optional(),
  /** The run's other nodes, where their daemons' tunnels end, and their VMs. */
  peers: list(
    'peer',
    z.strictObject({ node: hostName, address: ipAddress, vms: list('vm', z.strictObject(addressed)) }),
  ),
  /** The node's CPUs of the job, in Slurm's abstract numbers; empty where Slurm did not tell. */
  cpus: cpuList,
  /** The job's memory on the node: the limit of all its VMs together. */
  memoryMib: z.int().min(1),
  vms: list(
    'vm',
    z.strictObject({
      /** Counts over the whole run. */
      index: z.int().min(0),
      name: vmName,
      hostname: hostName,
      ...addressed,
      vcpus: z.int().min(1),
      memoryMib: z.int().min(1),
    }),
  ),
  /** What every VM of the run gets in its hosts file. */
  hosts: list(
    'host',
    z.strictObject({
      address: ipAddress,
      name: hostName,
      aliases: list('alias', hostName, 64),
      /** Tasks of the job there; absent in shares of an older version. */
      slots: z.int().min(0).optional(),
    }),
  ),
  /** What the run's SSH keys are derived from; absent in shares of an older version. No guest ever gets it. */
  sshSecret: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
})

/** Memory is MiB. */
export type Share = z.output<typeof share>

// The catalogue entry of a master image (images.d/NAME.xml) as a zod schema. It owns the shape and the rules between
// fields; it never looks at the files the entry names (lib/image does).
import { z } from 'zod'
import { list } from '../protocol/schema/fields.ts'

const absolutePath = z.string().regex(/^\/[^\0\n]*$/, 'an absolute path')
const mib = z.int().min(1).max(16_777_216)
const posixName = z.string().regex(/^[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,255}\$?$/, 'a user, group or account name')
const named = z.strictObject({ name: posixName })

export const imageName = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'an image name: [a-z0-9][a-z0-9._-]{0,62}')
export const imageRevision = z.string().regex(/^[A-Za-z0-9._-]{1,63}$/, 'a revision: [A-Za-z0-9._-]{1,63}')

const boot = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('direct'),
    kernel: absolutePath,
    initrd: absolutePath.optional(),
    commandLine: z.string().max(2048).default(''),
    /** From the start of the VM to its agent's answer. */
    timeoutSeconds: z.int().min(1).max(3600).default(120),
  }),
  z.strictObject({
    kind: z.literal('firmware'),
    firmware: z.enum(['bios', 'uefi']).default('bios'),
    timeoutSeconds: z.int().min(1).max(3600).default(180),
  }),
])

const ipv4Prefix = z.string().regex(/^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/, 'an IPv4 prefix such as 10.77.0.0/16')

const network = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('private'),
    /** The first host address of it is the gateway's; the rest is leased to VMs. */
    addresses: ipv4Prefix,
    mtu: z.int().min(576).max(65_535).default(1450),
  }),
  z.strictObject({
    kind: z.literal('bridge'),
    bridge: z.string().regex(/^[A-Za-z0-9_.-]{1,15}$/, 'a bridge device'),
    /** Only addresses of this prefix from `first` to `last` are leased. */
    addresses: ipv4Prefix,
    first: z.ipv4(),
    last: z.ipv4(),
    gateway: z.ipv4().optional(),
    mtu: z.int().min(576).max(65_535).default(1500),
  }),
])

const mount = z.discriminatedUnion('kind', [
  /** A folder of the node, exported to this run only, squashed to its user. */
  z.strictObject({
    kind: z.literal('export'),
    path: absolutePath,
    target: absolutePath,
    readOnly: z.boolean().default(false),
  }),
  /** A file server of the site that the guest mounts by itself. */
  z.strictObject({
    kind: z.literal('nfs'),
    source: z.string().min(3),
    target: absolutePath,
    options: z.string().default(''),
  }),
])

export const imageSchema = z.strictObject({
  version: z.literal('1'),
  name: imageName,
  revision: imageRevision,
  title: z.string().max(200).default(''),
  os: z.strictObject({
    family: z.enum(['linux', 'windows']),
    /** Where the agent comes from: in the master already, or brought on a NoCloud seed. */
    agent: z.enum(['builtin', 'seed']),
    /** Whether Slurm's commands work in the guest. */
    relay: z.boolean().default(true),
  }),
  master: z.strictObject({
    path: absolutePath,
    format: z.enum(['qcow2', 'raw']),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits')
      .optional(),
  }),
  boot,
  hostnames: z.strictObject({
    range: z.string().regex(/^[a-z0-9-]*\[\d+-\d+\][a-z0-9-]*$/, 'a hostname range such as tiny-[0001-9999]'),
  }),
  network,
  access: z.strictObject({
    /** `all`: every user of the cluster; `listed`: those below. */
    policy: z.enum(['all', 'listed']),
    users: list('user', named).default([]),
    groups: list('group', named).default([]),
    accounts: list('account', named).default([]),
  }),
  limits: z.strictObject({
    minMemoryMib: mib.default(64),
    maxMemoryMib: mib,
    maxCpus: z.int().min(1).max(4096),
    maxPerNode: z.int().min(1).max(256).default(64),
    /** What becomes of a job when no hostname or address is free: it goes back into the queue until one is, or fails. */
    onFull: z.enum(['wait', 'fail']).default('wait'),
    /** `all-or-nothing`: its jobs may not begin with some of their VMs missing. */
    strategy: z.enum(['any', 'all-or-nothing']).default('any'),
  }),
  template: z
    .strictObject({
      /** `auto`: VMs are cloned from the memory of a guest that was booted before, where that can be. */
      use: z.enum(['auto', 'never']).default('auto'),
      /** `user`: each user's VMs come from templates of their own. */
      sharing: z.enum(['all', 'user']).default('all'),
    })
    .prefault({}),
  mounts: z.strictObject({ entries: list('mount', mount).default([]) }).prefault({}),
  /** A fragment of libvirt's own domain XML, for what vmrm does not model. */
  domain: z.string().optional(),
})

/** One image of the catalogue. Sizes are MiB, times seconds. */
export type Image = z.infer<typeof imageSchema>

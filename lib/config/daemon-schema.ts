// vmrmd.xml as a zod schema: every setting of the daemon, its hooks and the command line, with its default.
import { z } from 'zod'
import { list } from '../protocol/schema/fields.ts'
import { imageName } from './image-schema.ts'

const absolutePath = z.string().regex(/^\/[^\0\n]*$/, 'an absolute path')
const port = z.int().min(1).max(65_535)
const seconds = z.int().min(1).max(86_400)
const device = z.string().regex(/^[A-Za-z0-9_.-]{1,15}$/, 'a network device')

const controller = z.strictObject({
  /** The name nodes and users know the controller by; a sealed message must name it. */
  host: z.string().min(1).max(253),
  address: z.ipv4().optional(),
  port: port.default(6829),
  /** SlurmUser of slurm.conf: the controller's vmrmd runs as this user. */
  user: z.string().min(1).default('slurm'),
})

const node = z.strictObject({
  /** Slurm's name of this node, where it is not the host's. */
  name: z.string().min(1).max(253).optional(),
  port: port.default(6830),
  /** Network device whose address other nodes reach this node by (VXLAN); without it the address of the node's name. */
  underlayDevice: device.optional(),
})

const paths = z.strictObject({
  images: absolutePath.default('/etc/vmrm/images.d'),
  runtime: absolutePath.default('/run/vmrm'),
  runs: absolutePath.default('/var/lib/vmrm/runs'),
  templates: absolutePath.default('/var/lib/vmrm/templates'),
  controllerState: absolutePath.default('/var/lib/vmrm/controller'),
  /** The NoCloud image that brings the agent to images with os/@agent="seed". */
  seed: absolutePath.default('/usr/lib/vmrm/seed.iso'),
})

const slurm = z.strictObject({
  /** Folder of scontrol and scancel. */
  commands: absolutePath.default('/usr/bin'),
  config: absolutePath.default('/etc/slurm/slurm.conf'),
  plugin: absolutePath.default('/usr/lib/vmrm/vmrm.so'),
  /** Largest ThreadsPerCore of the nodes: Slurm gives whole cores, so a job may get more CPUs than it asks for. */
  threadsPerCore: z.int().min(1).max(64).default(1),
})

/** Slurm's commands that can be made to work inside VMs. */
export const relayableCommands = [
  'srun',
  'sbatch',
  'salloc',
  'scancel',
  'squeue',
  'sinfo',
  'scontrol',
  'sacct',
  'sattach',
  'sbcast',
  'strigger',
  'sstat',
] as const

const relay = z.strictObject({
  /** Slurm's commands that work inside VMs: run on the host as the job's user. Empty: none. */
  commands: z
    .string()
    .regex(
      new RegExp(`^(?:(?:${relayableCommands.join('|')})(?: (?=[a-z])|$))*$`),
      `some of ${relayableCommands.join(', ')}`,
    )
    .default(relayableCommands.join(' ')),
})

/** The image of jobs that name none, and how their VMs are laid out. */
const defaultVm = {
  image: imageName,
  perNode: z.int().min(1).max(256).default(1),
  script: z.enum(['guest', 'host']).default('guest'),
  /** Whether --vm-image=none is allowed. */
  optOut: z.boolean().default(false),
}
/** `none` as an image exempts a user or an account from what would count otherwise. */
const defaults = z.strictObject({
  partitions: list(
    'partition',
    z.strictObject({ name: z.string().regex(/^[A-Za-z0-9_.-]{1,255}$/, 'the name of a partition'), ...defaultVm }),
  ).default([]),
  accounts: list(
    'account',
    z.strictObject({
      name: z.string().regex(/^[a-z0-9_.@-]{1,255}$/, 'the name of an account, in lower case as in Slurm'),
      ...defaultVm,
    }),
  ).default([]),
  users: list(
    'user',
    z.strictObject({ name: z.string().regex(/^[^\0-\x20/:]{1,255}$/, 'the name of a user'), ...defaultVm }),
  ).default([]),
})

/** What becomes of a job whose VMs do not all come up. */
const transaction = z.strictObject({
  /** Of jobs that do not say. */
  strategy: z.enum(['all-or-nothing', 'best-effort']).default('all-or-nothing'),
})

const submission = z.strictObject({
  /** Whether VMRM_IMAGE in a job's environment counts where no plug-in has read it; it always does where there are defaults. */
  fromEnvironment: z.boolean().default(false),
  /** `required`: no VM job may be submitted with --no-requeue. */
  requeue: z.enum(['any', 'required']).default('any'),
  /** `append`: every batch job in VMs must be submitted with --open-mode=append. */
  openMode: z.enum(['any', 'append']).default('any'),
})

const hypervisor = z.strictObject({
  socket: absolutePath.default('/run/libvirt/libvirt-sock'),
  uri: z.string().default('qemu:///system'),
  /** `auto` probes KVM by running something and falls back to TCG with one warning. */
  accelerator: z.enum(['auto', 'kvm', 'qemu']).default('auto'),
  /** Where libvirt keeps NAME.pid of a domain. */
  pidFolder: absolutePath.default('/run/libvirt/qemu'),
  /** Each run's QEMU processes have a uid of their own from this range; nobody else may use it. */
  firstUid: z.int().min(1000).max(4_294_000_000).default(600_000),
  uidCount: z.int().min(1).max(65_536).default(4096),
  /** Group of the QEMU processes: the one that may open /dev/kvm. */
  group: z.string().default('kvm'),
  /** What one VM costs beyond its own memory. */
  overheadMib: z.int().min(16).max(65_536).default(128),
  tcgCacheMib: z.int().min(8).max(4096).default(64),
  consoleMaxKib: z.int().min(16).max(1_048_576).default(1024),
  /** `own`: vmrmd makes a run's cgroup itself; `libvirt`: by <resource><partition>. */
  cgroups: z.enum(['own', 'libvirt']).default('own'),
  cgroupParent: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{1,64}$/)
    .default('vmrm'),
  /** Creations at the same time on one node. */
  startsAtOnce: z.int().min(1).max(256).default(4),
})

/** Memory images of booted guests, which VMs are cloned from. */
const templates = z.strictObject({
  /** Disk that all templates of a node may have together; 0: none are made. */
  maxMib: z.int().min(0).max(16_777_216).default(16_384),
  /** VMs with more memory boot. */
  maxMemoryMib: z.int().min(1).max(16_777_216).default(65_536),
})

const network = z.strictObject({
  vxlanPort: port.default(4789),
  firstVni: z.int().min(1).max(16_777_215).default(0x100000),
  vniCount: z.int().min(1).max(1_048_576).default(65_536),
  /** First half of every MAC address; locally administered. */
  macPrefix: z
    .string()
    .regex(/^[0-9a-f][26ae](:[0-9a-f]{2}){2}$/, 'a locally administered prefix such as 52:54:76')
    .default('52:54:76'),
  /** Where the VXLAN of other nodes may come from. */
  underlay: z
    .string()
    .regex(/^\d{1,3}(\.\d{1,3}){3}\/\d{1,2}$/, 'an IPv4 prefix')
    .default('0.0.0.0/0'),
  servicesNamespace: z
    .string()
    .regex(/^[A-Za-z0-9_-]{1,64}$/)
    .default('vmrm'),
})

const nfs = z.strictObject({
  /** `ganesha`: vmrmd writes one export file a run and tells nfs-ganesha; `none`: images may not have exports. */
  server: z.enum(['ganesha', 'none']).default('none'),
  exportsFolder: absolutePath.default('/var/lib/vmrm/exports'),
  pidFile: absolutePath.default('/run/ganesha/ganesha.pid'),
  configFile: absolutePath.default('/etc/vmrm/ganesha.conf'),
  port: port.default(2049),
})

const timeouts = z.strictObject({
  /** From PrologSlurmctld to the verdict; must lie below Slurm's PrologEpilogTimeout. */
  prepareSeconds: seconds.default(240),
  /** How long a node asks a controller that does not answer before it gives the run up. */
  controllerSeconds: seconds.default(60),
  /** A node's Epilog, until everything is checked to be gone. */
  removeSeconds: seconds.default(120),
  /** How long a task waits for the verdict after the Prologs have ended. */
  verdictSeconds: seconds.default(60),
  /**
   * How long Prolog and Epilog wait for a vmrmd of their node that does not answer. After its restart it may take half a
   * minute to find its VMs again (a guest that is silent makes it wait), and giving it up earlier drains the node for that.
   */
  nodeDaemonSeconds: seconds.default(60),
  /**
   * How long the vmrmd of a node may be away while a run is prepared: then the controller aborts the run everywhere. A
   * restart takes a second or two.
   */
  lostNodeSeconds: seconds.default(20),
  /** The same of PrologSlurmctld and EpilogSlurmctld, for the controller's. */
  controllerDaemonSeconds: seconds.default(30),
  reconcileSeconds: seconds.default(30),
})

export const daemonConfigSchema = z.strictObject({
  version: z.literal('1'),
  cluster: z.strictObject({ name: z.string().regex(/^[A-Za-z0-9_-]{1,40}$/) }),
  controller,
  node: node.prefault({}),
  paths: paths.prefault({}),
  slurm: slurm.prefault({}),
  munge: z.strictObject({ socket: absolutePath.default('/run/munge/munge.socket.2') }).prefault({}),
  relay: relay.prefault({}),
  hypervisor: hypervisor.prefault({}),
  templates: templates.prefault({}),
  network: network.prefault({}),
  nfs: nfs.prefault({}),
  transaction: transaction.prefault({}),
  timeouts: timeouts.prefault({}),
  /** For the rules at submission only (`vmrm job-submit-table`), as `submission` is. */
  defaults: defaults.prefault({}),
  submission: submission.prefault({}),
  log: z.strictObject({ level: z.enum(['error', 'warn', 'info', 'debug']).default('info') }).prefault({}),
})

/** vmrmd.xml, checked. Sizes are MiB or KiB, times seconds, as the names say. */
export type DaemonConfig = z.infer<typeof daemonConfigSchema>

// What each setting of vmrmd.xml is for. A test compares the names with the schema's.

export const daemonDescriptions: Readonly<Record<string, string>> = {
  '@version': 'Version of this format.',
  cluster: 'The cluster this host belongs to.',
  'cluster/@name': 'Name of the cluster. It is part of the UUID of every VM, so it must not change while jobs run.',
  controller: "Where the controller's vmrmd is; the same on all hosts.",
  'controller/@host': 'The name by which nodes and users know the controller.',
  'controller/@address':
    'Address to listen on and to connect to; without it the address of the name, and all addresses to listen on.',
  'controller/@port': 'TCP port.',
  'controller/@user': "SlurmUser of slurm.conf; the controller's vmrmd runs as this user.",
  node: "This node's vmrmd.",
  'node/@name': "Slurm's name of this node, where it is not the host's.",
  'node/@port': 'TCP port.',
  'node/@underlay-device':
    "Network device by whose address other nodes reach this one (VXLAN, and vmrmd itself); without it the address of the node's name.",
  paths: 'Folders.',
  'paths/@images': 'The catalogue, see images.d(5).',
  'paths/@runtime':
    'Sockets and markers of running jobs. The C parts know the default only: tasks need `task.sock` and `jobs` there.',
  'paths/@runs': 'All of a run on a node: journal, overlays, consoles. It needs room for what guests write.',
  'paths/@templates':
    "Templates of this node: memory of booted guests, for root only. On a local disk, best on the file system of `paths/@runs`; not on a tmpfs, where a clone's memory would count twice.",
  'paths/@controller-state': "The ledger, on the controller's local disk.",
  'paths/@seed':
    'The NoCloud image that brings the agent to VMs of images with `agent="seed"`; a part of vmrm, readable for QEMU\'s users.',
  slurm: "Slurm's own files.",
  'slurm/@commands': 'Folder of scontrol, squeue, sinfo and scancel.',
  'slurm/@config': 'slurm.conf.',
  'slurm/@plugin': 'The SPANK plug-in, for `vmrm doctor`.',
  'slurm/@threads-per-core':
    'Largest ThreadsPerCore of the nodes: Slurm gives whole cores, so a job may get more CPUs than it asks for. For the rules at submission.',
  relay: "Slurm's commands inside VMs.",
  'relay/@commands':
    "Commands that work inside VMs, separated by spaces; they are run on the host as the job's user, within the job's step. Empty: none.",
  munge: 'MUNGE on this host.',
  'munge/@socket': "munged's socket.",
  hypervisor: 'libvirt and QEMU on this node.',
  'hypervisor/@socket': "libvirtd's socket (or virtqemud's).",
  'hypervisor/@uri': "libvirt's name of the driver.",
  'hypervisor/@accelerator':
    '`auto` runs a guest under KVM once and falls back to TCG with a warning; `kvm` and `qemu` (TCG) are taken as they are.',
  'hypervisor/@pid-folder': 'Where libvirt keeps NAME.pid of a domain.',
  'hypervisor/@first-uid': 'First of the uids that QEMU runs as, one for each run. Nobody else may have them.',
  'hypervisor/@uid-count': 'How many there are: the most runs at a time on one node.',
  'hypervisor/@group': 'Group of the QEMU processes: the one that may open /dev/kvm.',
  'hypervisor/@overhead-mib':
    'What one VM costs on the host beyond its own memory; it is taken from the memory of the job.',
  'hypervisor/@tcg-cache-mib': "Size of QEMU's translation cache, where VMs run under TCG.",
  'hypervisor/@console-max-kib': "What is kept of a VM's console.",
  'hypervisor/@cgroups': '`own`: vmrmd makes the cgroup of a run; `libvirt`: libvirt does, by <resource><partition>.',
  'hypervisor/@cgroup-parent': 'The cgroup that those of the runs are in.',
  'hypervisor/@starts-at-once':
    'How many VMs are being created at the same time on one node; others wait. As many clones, or one a CPU of the node if that is more, take their identities at the same time.',
  templates: 'Templates: what VMs are cloned from instead of being booted.',
  'templates/@max-mib':
    'Disk that the templates of a node may have together; the least recently used goes first. 0: none are made and every VM boots.',
  'templates/@max-memory-mib': 'VMs with more memory than this are booted.',
  network: 'Networks of jobs.',
  'network/@vxlan-port': 'UDP port of VXLAN between nodes.',
  'network/@first-vni': 'First VXLAN network identifier.',
  'network/@vni-count': 'How many there are: the most runs at a time with a private network.',
  'network/@mac-prefix': 'First half of every MAC address; it must be locally administered.',
  'network/@underlay': 'Where the VXLAN of other nodes may come from: give the network of your nodes.',
  'network/@services-namespace': "The network namespace on each node that guests' gateways and the NFS server are in.",
  nfs: 'Exports of folders of the node to guests.',
  'nfs/@server':
    '`ganesha`: vmrmd writes one export file a run and tells nfs-ganesha; `none`: images may not have exports.',
  'nfs/@exports-folder': 'Where those files are; `%dir` of ganesha.conf names it.',
  'nfs/@pid-file': "nfs-ganesha's (its option -p).",
  'nfs/@config-file': "nfs-ganesha's configuration, for `vmrm doctor`.",
  'nfs/@port': 'TCP port of the NFS server.',
  transaction: 'What becomes of a job whose VMs do not all come up.',
  'transaction/@strategy':
    '`all-or-nothing`: it gets every VM, or none and a reason; `best-effort`: it begins with those that came up, if the first one of its first node is among them. Of jobs that do not say (--vm-strategy).',
  timeouts: 'Deadlines.',
  'timeouts/@prepare-seconds':
    "From PrologSlurmctld until all VMs of a run must be ready. It must be at least a minute below Slurm's PrologEpilogTimeout.",
  'timeouts/@controller-seconds': 'How long a node asks a controller that does not answer before it gives a run up.',
  'timeouts/@remove-seconds': "A node's Epilog, until everything is checked to be gone.",
  'timeouts/@verdict-seconds': 'How long a task waits for the verdict after the Prologs have ended.',
  'timeouts/@node-daemon-seconds':
    'How long Prolog and Epilog wait for a vmrmd of their node that does not answer. After a restart it may take half a minute to find its VMs again.',
  'timeouts/@lost-node-seconds':
    'How long the vmrmd of a node may be away while a run is prepared. Then the controller aborts the run on all nodes, drains the node and sends the job back to the queue. A restart takes a second or two.',
  'timeouts/@controller-daemon-seconds':
    "How long PrologSlurmctld and EpilogSlurmctld wait for the controller's vmrmd where it does not answer.",
  'timeouts/@reconcile-seconds': 'How often the daemons compare what is with what should be.',
  defaults:
    'Images of jobs that name none. Of several entries for a job that of its user counts, else that of its account, else that of its partition. Only `vmrm job-submit-table` reads this.',
  'defaults/partition': 'One partition.',
  'defaults/partition/@name': "Slurm's name of it.",
  'defaults/partition/@image': 'The image of jobs that name none.',
  'defaults/partition/@per-node': 'VMs on each node, as with --vm-per-node.',
  'defaults/partition/@script': 'Where the batch script runs, as with --vm-script.',
  'defaults/partition/@opt-out': 'Whether --vm-image=none is allowed.',
  'defaults/account': 'One account.',
  'defaults/account/@name': "Slurm's name of it, in lower case.",
  'defaults/account/@image': 'The image of jobs that name none. `none`: no VMs, whatever a less special entry says.',
  'defaults/account/@per-node': 'VMs on each node, as with --vm-per-node.',
  'defaults/account/@script': 'Where the batch script runs, as with --vm-script.',
  'defaults/account/@opt-out': 'Whether --vm-image=none is allowed.',
  'defaults/user': 'One user.',
  'defaults/user/@name': 'The name of the account on the hosts.',
  'defaults/user/@image': 'The image of jobs that name none. `none`: no VMs, whatever a less special entry says.',
  'defaults/user/@per-node': 'VMs on each node, as with --vm-per-node.',
  'defaults/user/@script': 'Where the batch script runs, as with --vm-script.',
  'defaults/user/@opt-out': 'Whether --vm-image=none is allowed.',
  submission: 'What a site allows at submission. Only `vmrm job-submit-table` reads this.',
  'submission/@from-environment':
    'Whether VMRM_IMAGE in the environment of a job counts that came without options of vmrm, as through slurmrestd. It always does where there are defaults. If not, such a job is refused.',
  'submission/@requeue':
    '`required`: a job in VMs that has --no-requeue is refused, since Slurm could not run it elsewhere when a node fails.',
  'submission/@open-mode':
    '`append`: a batch job in VMs without --open-mode=append is refused, since a second start would overwrite its output.',
  log: 'The log of vmrmd, on standard error.',
  'log/@level': 'The least important lines that are written.',
}

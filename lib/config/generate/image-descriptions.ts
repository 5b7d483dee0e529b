// What each element and attribute of a catalogue entry is for. A test compares the names with the schema's.

export const imageDescriptions: Readonly<Record<string, string>> = {
  '@version': 'Version of this format.',
  '@name': 'The name users give to --vm-image; the file must be called NAME.xml.',
  '@revision':
    'Which state of the image this is; users may insist on it with NAME@REV. Change it whenever the master changes.',
  '@title': 'What the image is, for people.',
  os: 'The operating system in the image.',
  'os/@family': 'What kind it is.',
  'os/@agent':
    'Where the agent comes from: `builtin`, it is in the master; `seed`, the cloud-init of the master starts it from a second disk (`paths/@seed` of vmrmd.xml).',
  'os/@relay':
    "Whether Slurm's commands work in the guest: then its user, and whoever becomes that user there, can submit and cancel as if on a node.",
  master: 'The disk that every VM starts from. vmrm never writes to it; it may have no backing file.',
  'master/@path': 'The file, at the same place on every node.',
  'master/@format': 'Its format; never guessed.',
  'master/@sha256': 'Its SHA-256, for `vmrm image check`.',
  boot: 'How a VM starts.',
  'boot/@kind': '`direct`: QEMU loads a kernel; `firmware`: the disk has a boot loader.',
  'boot/@kernel': 'The kernel.',
  'boot/@initrd': 'The initial RAM disk.',
  'boot/@command-line': "The kernel's command line.",
  'boot/@firmware': 'Which firmware.',
  'boot/@timeout-seconds': "From the start of a VM to its agent's answer; the job fails when it is over.",
  hostnames: 'Hostnames of the VMs.',
  'hostnames/@range': 'One of these is leased to each VM. One bracket; as many digits as its numbers have.',
  network: "The network of a job's VMs.",
  'network/@kind': '`private`: each job has one of its own; `bridge`: a bridge of the site.',
  'network/@bridge': 'The bridge device on each node.',
  'network/@addresses': "The network. Of a private one the first address is the gateway's, the others are leased.",
  'network/@first': 'First address to lease.',
  'network/@last': 'Last address to lease.',
  'network/@gateway': "The site's router.",
  'network/@mtu': "MTU in the guest. A private network between nodes needs 50 bytes less than the nodes' own.",
  access: 'Who may use the image. root may use every image.',
  'access/@policy': '`all`: every user of the cluster; `listed`: those listed here.',
  'access/user': 'A user.',
  'access/user/@name': 'The login name.',
  'access/group': 'A group, as the controller knows it.',
  'access/group/@name': 'The name.',
  'access/account': "An account of Slurm. It is checked when the job starts, since it isn't known before.",
  'access/account/@name': 'The name.',
  limits: 'How large a VM may be. Sizes come from the allocation of the job; beyond a limit it is refused.',
  'limits/@min-memory-mib': 'The least memory that a guest can boot with.',
  'limits/@max-memory-mib': 'The most memory of one VM.',
  'limits/@max-cpus': 'The most CPUs of one VM.',
  'limits/@max-per-node': 'The most VMs of one job on one node.',
  'limits/@on-full':
    'What becomes of a job when not enough hostnames or addresses are free: `wait` puts it back into the queue until there are, `fail` ends it. One that wants more than there are fails always, and so does one that Slurm may not requeue.',
  'limits/@strategy':
    '`all-or-nothing`: its jobs get every VM or none; `any`: users may also ask for best-effort (--vm-strategy).',
  template: 'How VMs of this image start.',
  'template/@use':
    '`auto`: a guest is booted once for each size of VM, without job or user, and VMs are cloned from its memory; `never`: every VM boots.',
  'template/@sharing':
    "`all`: VMs of all users may come from the same template; `user`: each user's from templates of their own.",
  mounts: 'What the guest mounts before the job starts.',
  'mounts/mount': 'One mount.',
  'mounts/mount/@kind':
    '`export`: a folder of the node, exported to this job only and squashed to its user; `nfs`: a file server of the site that the guest can reach.',
  'mounts/mount/@path': 'The folder on the node.',
  'mounts/mount/@source': 'The file server and path, such as `server:/data`.',
  'mounts/mount/@target': 'Where it appears in the guest.',
  'mounts/mount/@read-only': 'Whether the guest may only read it.',
  'mounts/mount/@options': 'Mount options.',
  domain:
    "A fragment of libvirt's own domain XML (https://libvirt.org/formatdomain.html), for what vmrm does not model: cpu, clock, devices such as hostdev, sound or tpm, and others. What identity, isolation and networking rest on is refused.",
}

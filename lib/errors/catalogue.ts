// Every error code of vmrm: whose failure it is, what the code means, and the next step. docs/reference/errors.md is made from it.

/** Whose failure it is: decides exit codes and whether a node may drain (only `node` may). */
export type ErrorFamily = 'user' | 'capacity' | 'node' | 'config' | 'peer' | 'bug'

export interface CatalogueEntry {
  readonly family: ErrorFamily
  /** What the code means, one sentence, for the reference page. */
  readonly meaning: string
  /** The next step for whoever reads the message; empty where the message says it all. */
  readonly hint: string
}

export const catalogue = {
  internal: {
    family: 'bug',
    meaning: 'vmrm met a state that its authors did not expect.',
    hint: 'Please report this with the log of vmrmd around this time.',
  },
  'image-unknown': {
    family: 'user',
    meaning: 'The catalogue has no image of that name or revision.',
    hint: 'See `vmrm image list`.',
  },
  'image-not-allowed': {
    family: 'user',
    meaning: 'The image exists, but its allowed users, groups and accounts do not include this user.',
    hint: 'Ask the administrators of this cluster for access, or see `vmrm image list`.',
  },
  'image-unusable': {
    family: 'config',
    meaning: 'The image needs something that this release of vmrm does not have.',
    hint: 'Choose another image, and tell the administrators.',
  },
  'request-invalid': {
    family: 'user',
    meaning:
      'Something that was asked for cannot be: a --vm option or its environment variable, a name, node, user or size of a vmrm command, or a node to forget that still answers.',
    hint: '',
  },
  'size-too-small': {
    family: 'user',
    meaning: 'The job has fewer CPUs or less memory on a node than its VMs need.',
    hint: 'Ask Slurm for more with --cpus-per-task, --ntasks-per-node or --mem, or for fewer VMs with --vm-per-node.',
  },
  'size-over-limit': {
    family: 'user',
    meaning: 'A VM of the job would be larger than its image allows.',
    hint: 'Ask Slurm for less, or for more VMs a node with --vm-per-node.',
  },
  'range-full': {
    family: 'capacity',
    meaning: 'An image has no free hostname or address left.',
    hint: 'Wait for other jobs to end, or ask the administrators for a larger range.',
  },
  'leases-scattered': {
    family: 'capacity',
    meaning:
      "What is free of an image's hostnames, addresses or MAC addresses lies in so many pieces that the VMs cannot be told of each other.",
    hint: 'Ask for fewer VMs, or submit again when other VM jobs have ended; administrators can give the image larger ranges.',
  },
  'ledger-rebuilding': {
    family: 'capacity',
    meaning: 'The controller has lost its ledger, and not every node has told yet which VMs it holds.',
    hint: 'Wait, or ask the administrators: `vmrm node forget` tells of a node that is gone.',
  },
  'node-disk-full': { family: 'capacity', meaning: 'A node has no room for the files of a VM.', hint: '' },
  'vm-boot-timeout': {
    family: 'user',
    meaning: 'A VM was started, but its agent did not answer within the time its image allows.',
    hint: "The guest's last console lines are below, where there are any.",
  },
  'vm-lost': { family: 'peer', meaning: 'A VM of the job ended while the job ran.', hint: '' },
  'vm-start-failed': {
    family: 'user',
    meaning: 'The hypervisor refused to start a VM, or the VM ended while it booted.',
    hint: '',
  },
  'identity-failed': {
    family: 'user',
    meaning: 'A VM booted but could not take on its hostname, addresses, user or mounts.',
    hint: '',
  },
  'template-failed': {
    family: 'node',
    meaning:
      'A node could not make a template of an image, from which VMs are cloned; VMs of that image boot there instead.',
    hint: '',
  },
  'template-impossible': {
    family: 'config',
    meaning: 'VMs of an image boot on a node, since its catalogue entry or vmrmd.xml rules templates of it out.',
    hint: '',
  },
  'node-fault': { family: 'node', meaning: 'A node cannot start any VM.', hint: '' },
  'node-daemon-down': {
    family: 'node',
    meaning:
      'The vmrmd of a node did not answer its Prolog or the controller, went away while VMs were made, or its node was forgotten.',
    hint: 'Start vmrmd on that node; if vmrm has drained it, vmrm resumes it by itself.',
  },
  'parts-missing': {
    family: 'node',
    meaning: 'A part of vmrm that tasks need is missing on a node.',
    hint: 'Install vmrm on that node completely; vmrm resumes the node by itself.',
  },
  'libvirt-unreachable': {
    family: 'node',
    meaning: "The node's libvirtd does not answer.",
    hint: 'Start libvirtd on that node; vmrm resumes the node by itself.',
  },
  'libvirt-error': {
    family: 'peer',
    meaning: 'libvirt refused or failed a call; its own words are in the message.',
    hint: '',
  },
  'libvirt-timeout': {
    family: 'peer',
    meaning: 'libvirtd is connected, but did not answer a call in time; the call may still take effect.',
    hint: '',
  },
  'controller-unreachable': {
    family: 'peer',
    meaning: "The controller's vmrmd does not answer.",
    hint: 'Tell the administrators of this cluster; then submit again.',
  },
  'daemon-unreachable': {
    family: 'peer',
    meaning: 'The vmrmd of this host does not answer.',
    hint: 'Tell the administrators of this cluster.',
  },
  'job-unknown': {
    family: 'user',
    meaning: 'Slurm shows the asking user no such job.',
    hint: 'See `squeue --me`.',
  },
  'job-not-yours': {
    family: 'user',
    meaning: "The job is another user's; only its user and root may look into its VMs.",
    hint: '',
  },
  'job-not-running': { family: 'user', meaning: 'The job does not run, so it has no VMs now.', hint: '' },
  'job-without-vms': {
    family: 'user',
    meaning: 'The job was submitted without --vm-image, or its VMs are gone.',
    hint: 'See `vmrm ps JOB`.',
  },
  'vms-not-ready': {
    family: 'user',
    meaning: "The job's VMs are still being made.",
    hint: 'Try again in a moment; `vmrm ps JOB` shows when they are committed.',
  },
  'vm-unknown': { family: 'user', meaning: 'The job has no VM of that number.', hint: 'See `vmrm ps JOB`.' },
  'console-taken': {
    family: 'user',
    meaning: "Somebody is attached to a VM's serial console, which serves one at a time.",
    hint: '',
  },
  'console-failed': {
    family: 'peer',
    meaning: "A VM's serial console cannot be reached, or the connection to it broke.",
    hint: '',
  },
  'run-unknown': { family: 'user', meaning: 'There is no such run on this node or controller.', hint: '' },
  'run-ended': { family: 'peer', meaning: 'The run was ended while this was under way.', hint: '' },
  'batch-unknown': {
    family: 'user',
    meaning: 'There is no such batch of VMs, or it is over for more than a day.',
    hint: 'See `vmrm ps --all`.',
  },
  'batch-exists': {
    family: 'user',
    meaning:
      'Another batch has the name that was asked for; a name can be used again a day after the end of its batch.',
    hint: 'Choose another name.',
  },
  'nodes-too-few': {
    family: 'capacity',
    meaning: 'Fewer nodes could take the VMs of a batch than were asked for.',
    hint: 'Ask for fewer, or name the nodes.',
  },
  'not-permitted': { family: 'user', meaning: 'The caller may not do that.', hint: '' },
  'config-invalid': { family: 'config', meaning: 'A configuration or catalogue file is wrong.', hint: '' },
  'message-invalid': { family: 'peer', meaning: 'A message does not follow the protocol.', hint: '' },
  'munge-unreachable': {
    family: 'node',
    meaning: 'The munged of this host does not answer.',
    hint: 'Start munged on this host; Slurm needs it too.',
  },
  'munge-failed': { family: 'node', meaning: 'munged could not do what it was asked to.', hint: '' },
  'munge-credential-invalid': {
    family: 'peer',
    meaning: 'A MUNGE credential is damaged or was made with another key.',
    hint: 'Check that all hosts have the same /etc/munge/munge.key.',
  },
  'munge-expired': {
    family: 'peer',
    meaning: 'A MUNGE credential is older than its time to live.',
    hint: 'Check that the clocks of the hosts agree.',
  },
  'munge-rewound': {
    family: 'peer',
    meaning: 'A MUNGE credential was made in the future.',
    hint: 'Check that the clocks of the hosts agree.',
  },
  'munge-replayed': { family: 'peer', meaning: 'A MUNGE credential was presented for a second time.', hint: '' },
  'munge-not-authorised': {
    family: 'peer',
    meaning: 'A MUNGE credential is meant for another user or group.',
    hint: 'Check that the same SlurmUser is configured on all hosts.',
  },
  'peer-error': {
    family: 'peer',
    meaning: 'The other side failed with an error that this version of vmrm does not know.',
    hint: 'Check that all hosts run the same version of vmrm.',
  },
  'message-too-large': {
    family: 'peer',
    meaning: 'A message is longer than the protocol allows.',
    hint: 'Ask for less at once.',
  },
  'command-failed': { family: 'peer', meaning: 'A command that vmrm ran ended with an error.', hint: '' },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof catalogue

/** Exit codes of the executables, by family (after sysexits.h): the one place that decides them. */
export const exitCodeOfFamily = {
  user: 65,
  capacity: 75,
  node: 71,
  config: 78,
  peer: 69,
  bug: 70,
} as const satisfies Record<ErrorFamily, number>

// What the Debian image is made of: packages, and the few settings a site would choose for machines that live as long as a
// job. Data only. Nothing here may know of vmrm: the image stands for a stock distribution.
import type { RootFile } from '../root-files.ts'

/** Everything else follows from dependencies; recommendations are left out. */
export const packageNames = [
  ...[
    'systemd',
    'systemd-sysv',
    'udev',
    'dbus',
    'libpam-systemd',
    'kmod',
    'linux-image-cloud-amd64',
    'initramfs-tools',
  ],
  ...['cloud-init', 'openssh-server', 'openssh-client', 'nfs-common', 'iproute2', 'iputils-ping', 'procps', 'psmisc'],
  ...['apt', 'e2fsprogs', 'less', 'vim-tiny', 'file', 'openmpi-bin', 'mpich', 'python3', 'perl', 'zstd'],
  // One of two packages that fulfil the same dependency: this one has no programs.
  'usr-is-merged',
]

/** There before the first package is configured. */
export const earlyFiles: readonly RootFile[] = [
  {
    path: 'etc/dpkg/dpkg.cfg.d/small',
    content: ['doc', 'man', 'info', 'locale', 'lintian', 'bug']
      .map((name) => `path-exclude=/usr/share/${name}/*\n`)
      .join(''),
  },
  // A list and no search for what some machine may need: of 10 MB a boot unpacks 2.
  {
    path: 'etc/initramfs-tools/conf.d/virtual-machine',
    content: 'MODULES=list\nCOMPRESS=zstd\nRESUME=none\nFSTYPE=ext4\n',
  },
  { path: 'etc/initramfs-tools/modules', content: 'virtio_pci\nvirtio_blk\next4\n' },
  { path: 'etc/hostname', content: 'debian\n' },
  { path: 'etc/hosts', content: '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' },
  { path: 'etc/fstab', content: '# The kernel mounts the root: root=/dev/vda rw\n' },
  { path: 'etc/resolv.conf', content: '' },
]

/** There at the end. */
export const lateFiles: readonly RootFile[] = [
  // Empty, so that each boot makes one of its own and does not take itself for a first one.
  { path: 'etc/machine-id', content: '' },
  { path: 'etc/apt/sources.list', content: '' },
  // The journal stays in memory: the disk does not outlive the job.
  { path: 'etc/systemd/journald.conf.d/volatile.conf', content: '[Journal]\nStorage=volatile\n' },
]

/** Left over from building, or what must not be the same in every machine made from the image. */
export const unwantedPaths = [
  ...['var/lib/dbus/machine-id', 'var/lib/systemd/random-seed', 'var/lib/cloud', 'var/cache/apt', 'var/lib/apt/lists'],
  ...['var/log/apt', 'var/log/dpkg.log', 'var/log/alternatives.log', 'etc/dpkg/dpkg.cfg.d/small', 'var/cache/debconf'],
]

/** Globs of the same in etc/ssh: each machine has keys of its own. */
export const isHostKey = (name: string): boolean => name.startsWith('ssh_host_')

/** Units that start nothing a job waits for: package updates, housekeeping, RPC services of NFS 3. */
export const maskedUnits = [
  ...[
    'apt-daily.timer',
    'apt-daily-upgrade.timer',
    'dpkg-db-backup.timer',
    'fstrim.timer',
    'systemd-tmpfiles-clean.timer',
  ],
  ...['e2scrub_all.timer', 'e2scrub_reap.service', 'systemd-firstboot.service', 'systemd-repart.service'],
  ...['rpcbind.service', 'rpcbind.socket', 'systemd-pstore.service', 'systemd-networkd-wait-online.service'],
]

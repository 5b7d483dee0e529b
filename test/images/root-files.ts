// The few configuration files of the tiny image that no package brings. Data only.

export interface RootFile {
  readonly path: string
  readonly content: string
  readonly mode?: number
}

export const rootFiles: readonly RootFile[] = [
  {
    path: 'etc/passwd',
    content: [
      'root:x:0:0:root:/root:/bin/bash',
      'daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin',
      'sshd:x:101:65534:ssh server:/run/sshd:/usr/sbin/nologin',
      'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
      '',
    ].join('\n'),
  },
  {
    path: 'etc/group',
    content: 'root:x:0:\ndaemon:x:1:\ntty:x:5:\ndisk:x:6:\nsudo:x:27:\nusers:x:100:\nnogroup:x:65534:\n',
  },
  // No account has a password; users come with the VM's identity.
  { path: 'etc/shadow', content: 'root:*:19000:0:99999:7:::\n', mode: 0o640 },
  { path: 'etc/shells', content: '/bin/sh\n/bin/bash\n/bin/dash\n/usr/bin/sh\n/usr/bin/bash\n/usr/bin/dash\n' },
  {
    path: 'etc/nsswitch.conf',
    content:
      'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n',
  },
  // No PAM, no host key: the agent brings the run's own. OpenSSH's first choice of a key exchange costs an emulated CPU 2 s.
  {
    path: 'etc/ssh/sshd_config',
    content: [
      ...['UsePAM no', 'PasswordAuthentication no', 'PermitRootLogin no', 'KexAlgorithms curve25519-sha256'],
      ...['Subsystem sftp internal-sftp', ''],
    ].join('\n'),
  },
  { path: 'etc/hostname', content: 'tiny\n' },
  { path: 'etc/hosts', content: '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' },
  { path: 'etc/resolv.conf', content: '' },
  { path: 'etc/profile', content: 'PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\nexport PATH\n' },
  { path: 'etc/protocols', content: 'ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\n' },
  { path: 'etc/services', content: 'ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nsunrpc 111/tcp\nnfs 2049/tcp\n' },
  {
    path: 'etc/netconfig',
    content: ['udp', 'tcp', 'udp6', 'tcp6']
      .map((name) => {
        const kind = name.startsWith('tcp') ? 'tpi_cots_ord' : 'tpi_clts'
        return `${name} ${kind} v inet${name.endsWith('6') ? '6' : ''} ${name.slice(0, 3)} - -\n`
      })
      .join(''),
  },
]

/** Folders that must exist, with their modes. */
export const rootFolders: readonly (readonly [path: string, mode: number])[] = [
  ...['dev', 'proc', 'sys', 'run', 'home', 'mnt', 'media', 'srv', 'opt', 'var', 'var/log', 'var/lib', 'var/cache']
    .concat(['var/spool', 'etc', 'etc/vmrm', 'etc/ssh', 'usr/local/bin', 'var/lib/nfs'])
    .map((path) => [path, 0o755] as const),
  ['root', 0o700],
  ['tmp', 0o1777],
  ['var/tmp', 0o1777],
]

/** What packages bring that a job's machine has no use for. */
export const unwantedPaths = [
  ...['usr/share/doc', 'usr/share/man', 'usr/share/locale', 'usr/share/info', 'usr/share/lintian'],
  ...['usr/share/bash-completion', 'usr/share/bug', 'usr/share/initramfs-tools', 'usr/share/base-files'],
  ...['usr/lib/systemd', 'usr/lib/udev', 'usr/lib/tmpfiles.d', 'usr/lib/sysusers.d', 'etc/init.d', 'etc/cron.daily'],
  ...['etc/default', 'etc/pam.d', 'etc/udev', 'etc/update-motd.d', 'etc/kernel', 'usr/lib/x86_64-linux-gnu/gconv'],
  ...['usr/share/menu', 'usr/share/keyrings', 'usr/share/common-licenses', 'usr/share/openssh', 'usr/share/apport'],
  ...['etc/ssh/moduli', 'etc/ufw', 'usr/lib/openssh'],
]

/** Without one of these a job would not run; with a library missing any other program is left out. */
export const requiredPrograms = [
  ...['bash', 'dash', 'env', 'ls', 'cat', 'sleep', 'taskset', 'nproc', 'ps', 'grep', 'sed', 'mawk', 'find', 'tar'],
  ...['kmod', 'mount', 'umount', 'mount.nfs', 'sshd', 'ssh', 'getent', 'id', 'hostname'],
]

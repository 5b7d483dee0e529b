// ssh's command line for a VM: nothing of the caller's or the host's own configuration counts, and nobody is asked anything.

export interface SshTarget {
  readonly user: string
  readonly hostname: string
  /** Its stdin and stdout are the connection. Never empty. */
  readonly connection: readonly string[]
  readonly knownHosts: string
  readonly agentSocket: string
  /** What the caller adds: ssh's options, and a command. */
  readonly more: readonly string[]
}

/**
 * ssh hangs its proxy up when it ends, which srun would take for an order to kill. So one that is in between goes, and the
 * connection ends because its stdin does, which a shell keeps from what it does not wait for. A group of its own, since what is typed at the terminal is for ssh alone.
 */
const between = 'trap exit HUP; exec 3<&0; setsid "$@" <&3 3<&- & wait "$!"'

export function sshArgv({ user, hostname, connection, knownHosts, agentSocket, more }: SshTarget): string[] {
  const proxy = ['/bin/sh', '-c', between, 'sh', ...connection].map(quoted).join(' ')
  const options = [
    ...[`ProxyCommand=${proxy.replaceAll('%', '%%')}`, 'ProxyUseFdpass=no', `HostKeyAlias=${hostname}`],
    ...[`UserKnownHostsFile=${knownHosts}`, 'GlobalKnownHostsFile=/dev/null', 'StrictHostKeyChecking=yes'],
    ...['HostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com', 'CheckHostIP=no', 'UpdateHostKeys=no'],
    ...[`IdentityAgent=${agentSocket}`, 'IdentityFile=none', 'PreferredAuthentications=publickey'],
  ]
  return ['-F', 'none', ...options.flatMap((option) => ['-o', option]), '-l', user, hostname, ...more]
}

/** For a shell; ssh has /bin/sh run the proxy (ssh.ts). */
function quoted(argument: string): string {
  return `'${argument.replaceAll("'", `'\\''`)}'`
}

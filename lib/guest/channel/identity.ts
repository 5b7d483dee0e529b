// What a VM is to become: the typed identity and its field list. It owns the form; the values are the controller's plan.
import { encodeFields, joinTexts, u64Field } from '../frame/fields.ts'

export interface GuestNic {
  readonly mac: string
  /** Address with prefix length: `10.1.2.3/24`. */
  readonly address: string
  readonly mtu: number
}

export interface GuestUser {
  readonly name: string
  /** Absent for a guest without numeric ids. */
  readonly uid?: number
  readonly gid?: number
  readonly home: string
  readonly shell: string
  readonly gecos: string
}

export interface GuestMount {
  readonly type: string
  readonly source: string
  readonly target: string
  readonly options: string
}

/** Keys and lines in OpenSSH's own formats. */
export interface GuestSshKeys {
  readonly hostKey: string
  readonly hostCertificate: string
  readonly userKey: string
  readonly authorized: string
  readonly known: string
}

/** All VMs of the run, in the ranges of lib/network/sequences.ts; the guest writes them out. */
export interface GuestHosts {
  readonly addresses: string
  readonly hostnames: string
  /** Slurm's names of the nodes; each is another name of the first VM there. */
  readonly nodes: string
  /** How many VMs each node has. */
  readonly vms: string
  /** Tasks of the job in each VM. */
  readonly slots?: string | undefined
}

export interface GuestIdentity {
  readonly run: string
  /** The domain's own, as libvirt writes it. */
  readonly uuid?: string
  readonly hostname: string
  /** Slurm's name of the node the VM is on. */
  readonly node: string
  readonly nics: readonly GuestNic[]
  readonly gateway?: string
  readonly hosts: GuestHosts
  readonly user: GuestUser
  readonly groups: readonly { readonly name: string; readonly gid?: number }[]
  readonly mounts: readonly GuestMount[]
  readonly ssh?: GuestSshKeys
  /** Slurm's commands that are relayed, as paths on the host: the guest finds them at the same places. */
  readonly commands: readonly string[]
  /** Nanoseconds since 1970. */
  readonly timeNs: bigint
  /** 32 bytes or more, fresh for each VM. */
  readonly entropy: Uint8Array
}

/** Field numbers of IDENTITY. */
export const identityTag = {
  run: 1,
  hostname: 2,
  nic: 3,
  gateway: 4,
  hosts: 5,
  user: 6,
  group: 7,
  mount: 8,
  time: 9,
  entropy: 10,
  node: 11,
  command: 12,
  sshHostKey: 13,
  sshHostCertificate: 14,
  sshUserKey: 15,
  sshAuthorized: 16,
  sshKnown: 17,
  slots: 18,
  uuid: 19,
} as const

const number = (value: number | undefined): string => (value === undefined ? '' : String(value))

/** The payload of IDENTITY. Throws RangeError for a value with a NUL in it and for too little entropy. */
export function encodeIdentity(identity: GuestIdentity): Buffer {
  if (identity.entropy.length < 32) throw new RangeError('an identity needs 32 bytes of entropy')
  const { user, hosts } = identity
  const account = [user.name, number(user.uid), number(user.gid), user.home, user.shell, user.gecos]
  return encodeFields([
    [identityTag.run, joinTexts([identity.run])],
    ...(identity.uuid === undefined ? [] : [[identityTag.uuid, identity.uuid] as const]),
    [identityTag.hostname, joinTexts([identity.hostname])],
    [identityTag.node, joinTexts([identity.node])],
    ...identity.nics.map((nic) => [identityTag.nic, joinTexts([nic.mac, nic.address, String(nic.mtu)])] as const),
    ...(identity.gateway === undefined ? [] : [[identityTag.gateway, joinTexts([identity.gateway])] as const]),
    [identityTag.hosts, joinTexts([hosts.addresses, hosts.hostnames, hosts.nodes, hosts.vms])],
    [identityTag.user, joinTexts(account)],
    ...identity.groups.map((group) => [identityTag.group, joinTexts([group.name, number(group.gid)])] as const),
    ...identity.mounts.map((m) => [identityTag.mount, joinTexts([m.type, m.source, m.target, m.options])] as const),
    ...(hosts.slots === undefined ? [] : [[identityTag.slots, joinTexts([hosts.slots])] as const]),
    ...(identity.ssh === undefined ? [] : sshFields(identity.ssh)),
    ...identity.commands.map((path) => [identityTag.command, joinTexts([path])] as const),
    [identityTag.time, u64Field(identity.timeNs)],
    [identityTag.entropy, identity.entropy],
  ])
}

function sshFields(ssh: GuestSshKeys) {
  return [
    [identityTag.sshHostKey, ssh.hostKey],
    [identityTag.sshHostCertificate, ssh.hostCertificate],
    [identityTag.sshUserKey, ssh.userKey],
    [identityTag.sshAuthorized, ssh.authorized],
    [identityTag.sshKnown, ssh.known],
  ] as const
}

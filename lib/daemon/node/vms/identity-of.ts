// The identity one VM gets: from the share, the image and what the host knows of the user. Pure but for time and entropy.
import { randomBytes } from 'node:crypto'
import type { Image } from '../../../config/image-schema.ts'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import type { GuestIdentity, GuestMount } from '../../../guest/channel/identity.ts'
import { type Run, runId } from '../../../job/run.ts'
import { exportPath } from '../../../network/nfs-export.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import { type VmSshKeys, vmSshKeys } from '../../../ssh/run-keys.ts'
import type { Account } from '../../account.ts'

const entropyBytes = 64

/** Folders of the node that the image wants exported to the run, in the order of their export numbers. */
export function exportedFolders(image: Image): readonly { path: string; readOnly: boolean }[] {
  return image.mounts.entries
    .filter((mount) => mount.kind === 'export')
    .map(({ path, readOnly }) => ({ path, readOnly }))
}

export function identityOf(options: {
  run: Run
  /** The domain's. */
  uuid: string
  node: string
  share: Share
  vm: Share['vms'][number]
  image: Image
  account: Account
  /** Paths of the commands that are relayed. */
  commands: readonly string[]
}): GuestIdentity {
  const { run, node, share, vm, image, account } = options
  return {
    run: runId(run),
    uuid: options.uuid,
    hostname: vm.hostname,
    node,
    nics: [{ mac: vm.mac, address: `${vm.address}/${share.prefixLength}`, mtu: image.network.mtu }],
    // A private network has no way out: its gateway is a file server, reached on the link itself.
    ...(image.network.kind === 'bridge' && share.gateway !== undefined ? { gateway: share.gateway } : {}),
    hosts: share.layout,
    ...sshOf({ run, node, share, vm }),
    user: {
      name: nameForGuest(account),
      uid: account.uid,
      // The job's own, which is another of the user's groups after newgrp.
      gid: share.gid,
      home: account.home,
      shell: account.shell,
      gecos: account.gecos,
    },
    groups: account.groups.map(({ name, gid }) => ({ name: isNameForGuest(name) ? name : '', gid })),
    mounts: mountsOf(run, share, image),
    commands: image.os.relay ? options.commands : [],
    timeNs: BigInt(Date.now()) * 1_000_000n,
    entropy: randomBytes(entropyBytes),
  }
}

/** What passwd and group can hold: domains and blanks (`CORP\\eve`, `domain users`), but none of their separators. */
function isNameForGuest(name: string): boolean {
  return /^[^\p{Cc}:,/#+ -][^\p{Cc}:,/]*$/u.test(name) && !name.endsWith(' ')
}

/** A group can do without its name, a user cannot. */
function nameForGuest({ name, uid }: Account): string {
  if (isNameForGuest(name)) return name
  throw new VmrmError('identity-failed', `user ${uid} has a name that no guest's passwd file can hold: ${name}`)
}

function sshOf(options: { run: Run; node: string; share: Share; vm: Share['vms'][number] }): { ssh?: VmSshKeys } {
  const { run, node, share, vm } = options
  if (share.sshSecret === undefined) return {}
  // As in the hosts files: the node's name is its first VM's.
  const names = [vm.hostname, ...(vm.index === share.vms[0]?.index ? [node] : []), vm.address]
  return { ssh: vmSshKeys({ secret: Buffer.from(share.sshSecret, 'hex'), run: runId(run), index: vm.index, names }) }
}

/**
 * That a file is not there is asked anew each time: a job may wait for one that is made outside. The second word is for the agent:
 * this server needs nothing of the guest's kernel that is not loaded yet.
 */
export const exportOptions = 'lookupcache=positive,x-vmrm.plain'

function mountsOf(run: Run, share: Share, image: Image): readonly GuestMount[] {
  let exported = 0
  return image.mounts.entries.map((mount) => {
    if (mount.kind === 'nfs') {
      return { type: 'nfs4', source: mount.source, target: mount.target, options: mount.options }
    }
    const source = `${share.gateway ?? ''}:${exportPath(runId(run), exported++)}`
    return {
      type: 'nfs4',
      source,
      target: mount.target,
      options: [...(mount.readOnly ? ['ro'] : []), exportOptions].join(','),
    }
  })
}

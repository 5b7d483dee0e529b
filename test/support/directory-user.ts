// A user and a group that no file of /etc knows, on every host of a cluster: they come from a name service module of their own
// (Debian's libnss-extrausers), as a site's come from LDAP or SSSD.
import { chownSync, mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from './cluster.ts'

export interface DirectoryUser {
  readonly name: string
  readonly uid: number
  readonly gid: number
  /** The user's groups by name, the primary one included. */
  readonly groups: Readonly<Record<string, number>>
}

const folder = '/var/lib/extrausers'

/** Runs `work` while the hosts know the user. The home folder is made, and goes with the rest. */
export async function withDirectoryUser(
  cluster: Cluster,
  user: DirectoryUser,
  work: () => Promise<void>,
): Promise<void> {
  const { name, uid, gid, groups } = user
  const home = join(cluster.layout.folder, 'home', name)
  const passwd = `${name}:x:${uid}:${gid}:Eve of the directory:/home/${name}:/bin/bash`
  const lines = Object.entries(groups).map(([group, number]) => `${group}:x:${number}:${number === gid ? '' : name}`)
  const everywhere = async (script: string, ...values: string[]): Promise<void> => {
    for (const { name: node } of cluster.layout.hosts) {
      const done = await cluster.run(['/bin/sh', '-ec', script, 'sh', ...values], { node })
      if (done.exitCode !== 0) throw new Error(`${node}: ${done.stderr}`)
    }
  }
  const write = `mkdir -p ${folder}; printf '%s\\n' "$1" >${folder}/passwd; shift; printf '%s\\n' "$@" >${folder}/group`
  const use = "sed -i -E 's/^((passwd|group):.*files)/\\1 extrausers/' /etc/nsswitch.conf"
  try {
    mkdirSync(home)
    chownSync(home, uid, gid)
    await everywhere(`${write}; ${use}; getent passwd ${uid} >/dev/null`, passwd, ...lines)
    await work()
  } finally {
    rmSync(home, { recursive: true, force: true })
    await everywhere(`sed -i 's/ extrausers//' /etc/nsswitch.conf; rm -rf ${folder}`)
  }
}

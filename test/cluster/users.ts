// The cluster's users, groups and host names: files of the hosts only, never of the machine.
import {
  chmodSync,
  chownSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Host, Layout } from './layout.ts'

export interface ClusterUser {
  readonly name: string
  /** Also the number of the user's own group. */
  readonly uid: number
}

export const clusterUsers: readonly ClusterUser[] = [
  { name: 'alice', uid: 2001 },
  { name: 'bob', uid: 2002 },
  { name: 'carol', uid: 2003 },
]

/** A supplementary group that two of them share. */
export const sharedGroup = { name: 'proj', gid: 2100, members: ['alice', 'bob'] } as const

const ourNames = new Set<string>([sharedGroup.name, ...clusterUsers.map((user) => user.name)])

/** The machine's lines without those that would hide ours. */
function machineLines(path: string): string[] {
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  return lines.filter((line) => !ourNames.has(line.split(':')[0] ?? ''))
}

/** passwd, group, hosts and hostname below the host's folder. */
export function writeHostIdentity(layout: Layout, host: Host): void {
  const write = (name: string, lines: readonly string[]): void => {
    mkdirSync(join(host.folder, 'etc'), { recursive: true })
    writeFileSync(join(host.folder, 'etc', name), `${lines.join('\n')}\n`)
  }
  write('passwd', [
    ...machineLines('/etc/passwd'),
    ...clusterUsers.map(({ name, uid }) => `${name}:x:${uid}:${uid}:${name}:/home/${name}:/bin/bash`),
  ])
  write('group', [
    ...machineLines('/etc/group'),
    ...clusterUsers.map(({ name, uid }) => `${name}:x:${uid}:`),
    `${sharedGroup.name}:x:${sharedGroup.gid}:${sharedGroup.members.join(',')}`,
  ])
  write('hosts', ['127.0.0.1 localhost', ...layout.hosts.map(({ address, name }) => `${address} ${name}`)])
  write('hostname', [host.name])
}

/** /home of every host: one folder, each home 0700. */
export function makeHomes(layout: Layout): void {
  for (const { name, uid } of clusterUsers) {
    const home = join(layout.folder, 'home', name)
    mkdirSync(home, { recursive: true })
    chownSync(home, uid, uid)
    chmodSync(home, 0o700)
  }
}

/** Number of a user of the machine (`slurm`, made by Debian's package); throws where there is none. */
export function machineUid(name: string): number {
  const fields = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .find((each) => each[0] === name)
  if (fields?.[2] === undefined) throw new Error(`this machine has no user ${name}`)
  return Number(fields[2])
}

/** Gives a folder and all below it to a user and its group of the same number. */
export function chownTree(path: string, uid: number): void {
  lchownSync(path, uid, uid)
  if (!lstatSync(path).isDirectory()) return
  for (const name of readdirSync(path)) chownTree(join(path, name), uid)
}

// What the host knows of a user and its groups, through the name service (files, LDAP, SSSD alike): getent and id. It asks for one
// name or number at a time, never for a list: a source need not offer one.
import { VmrmError } from '../errors/vmrm-error.ts'

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly gecos: string
  readonly home: string
  readonly shell: string
  /** All groups of the user, the primary one first; '' is the name of one that has none. */
  readonly groups: readonly { readonly name: string; readonly gid: number }[]
}

const lookUpMs = 10_000

/** The account of a uid or name. Throws `command-failed` if the name service does not know it. */
export async function lookUpAccount(user: string | number): Promise<Account> {
  const entry = await run('/usr/bin/getent', ['passwd', String(user)])
  const uid = uidIn(entry, user)
  const [name = '', , , gid, gecos = '', home = '', shell = ''] = entry.split(':')
  const numbers = { uid, gid: Number(gid) }
  // A directory may leave these out; they are what login(1) takes then.
  const places = { home: home.startsWith('/') ? home : '/', shell: shell.trim() || '/bin/sh' }
  return { name, ...numbers, gecos, ...places, groups: await lookUpGroups(name) }
}

function uidIn(entry: string, user: string | number): number {
  const [name = '', , uid, ...rest] = entry.split(':')
  if (rest.length < 4 || name === '') throw new VmrmError('command-failed', `getent passwd ${user} gives no account`)
  return Number(uid)
}

/** The uid of a user, with one question where all of the account takes three. Throws `command-failed` as `lookUpAccount` does. */
export async function lookUpUid(user: string): Promise<number> {
  return uidIn(await run('/usr/bin/getent', ['passwd', user]), user)
}

/** `id` and not `getent group`: the members of a group may be tens of thousands. */
async function lookUpGroups(user: string): Promise<Account['groups']> {
  const [numbers, names] = await Promise.all([
    run('/usr/bin/id', ['--groups', '--zero', '--', user]),
    run('/usr/bin/id', ['--groups', '--name', '--zero', '--', user], 'some-unnamed'),
  ])
  const listOf = (text: string) => text.split('\0').filter((each) => each !== '')
  const groupNames = listOf(names)
  // For a group without a name `id` prints its number.
  return listOf(numbers).map((gid, at) => {
    const name = groupNames[at] ?? ''
    return { name: name === gid ? '' : name, gid: Number(gid) }
  })
}

/** The gid of a group. Throws `command-failed` if the name service does not know it. */
export async function lookUpGroup(name: string): Promise<number> {
  const gid = Number((await run('/usr/bin/getent', ['group', name])).split(':')[2])
  if (!Number.isInteger(gid)) throw new VmrmError('command-failed', `getent group ${name} gives no group`)
  return gid
}

async function run(command: string, args: readonly string[], outcome?: 'some-unnamed'): Promise<string> {
  const { execa } = await import('execa')
  const result = await execa(command, args, {
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
    extendEnv: false,
    cwd: '/',
    stdin: 'ignore',
    timeout: lookUpMs,
    maxBuffer: 1_048_576,
    reject: false,
  })
  // `id` ends with 1 when one of several groups has no name; what it printed is right all the same.
  if (result.failed && !(outcome === 'some-unnamed' && result.exitCode === 1 && result.stdout !== '')) {
    throw new VmrmError(
      'command-failed',
      `${command} ${args.join(' ')} ended with ${result.exitCode ?? result.signal}`,
      {
        quoted: String(result.stderr).slice(-1000),
      },
    )
  }
  return result.stdout.trim()
}

// What the host knows of a user and its groups, through the name service (files, LDAP, SSSD alike): getent and id.
import { VmrmError } from '../errors/vmrm-error.ts'

export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly gecos: string
  readonly home: string
  readonly shell: string
  /** All groups of the user, the primary one first. */
  readonly groups: readonly { readonly name: string; readonly gid: number }[]
}

const lookUpMs = 10_000

/** The account of a uid or name. Throws `command-failed` if the name service does not know it. */
export async function lookUpAccount(user: string | number): Promise<Account> {
  const entry = (await run('/usr/bin/getent', ['passwd', String(user)])).split(':')
  const [name = '', , uid, gid, gecos = '', home = '', shell = ''] = entry
  if (entry.length < 7 || name === '') throw new VmrmError('command-failed', `getent passwd ${user} gives no account`)
  const gids = (await run('/usr/bin/id', ['-G', '--', name])).split(' ')
  const groups = (await run('/usr/bin/getent', ['group', ...gids])).split('\n').map((line) => {
    const [group = '', , number] = line.split(':')
    return { name: group, gid: Number(number) }
  })
  return { name, uid: Number(uid), gid: Number(gid), gecos, home, shell: shell.trim(), groups }
}

/** The gid of a group. Throws `command-failed` if the name service does not know it. */
export async function lookUpGroup(name: string): Promise<number> {
  const gid = Number((await run('/usr/bin/getent', ['group', name])).split(':')[2])
  if (!Number.isInteger(gid)) throw new VmrmError('command-failed', `getent group ${name} gives no group`)
  return gid
}

async function run(command: string, args: readonly string[]): Promise<string> {
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
  // getent answers 2 when one of several keys is unknown; what it printed is right all the same.
  if (result.failed && !(result.exitCode === 2 && result.stdout !== '')) {
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

// Tries files as the users that QEMU runs as, so that ACLs and root-squashing file systems count, which modes do not show.
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { lookUpGroup } from '../../daemon/account.ts'

export interface QemuUser {
  /** For people: `uid 600000, group kvm`. */
  readonly title: string
  may(what: 'read' | 'enter', path: string): Promise<boolean>
}

const tests = { read: '-r', enter: '-x' } as const
const tryMs = 10_000

/** Undefined where this process cannot become another user. Throws `command-failed` if the group does not exist. */
export async function openQemuUser(config: DaemonConfig): Promise<QemuUser | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const { firstUid, group } = config.hypervisor
  const gid = await lookUpGroup(group)
  const { execa } = await import('execa')
  const identity = [`--reuid=${firstUid}`, `--regid=${gid}`, '--clear-groups', '--inh-caps=-all']
  return {
    title: `uid ${firstUid}, group ${group}`,
    async may(what, path) {
      const result = await execa('/usr/bin/setpriv', [...identity, '--', '/usr/bin/test', tests[what], path], {
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
        extendEnv: false,
        cwd: '/',
        stdin: 'ignore',
        timeout: tryMs,
        reject: false,
      })
      return result.exitCode === 0
    },
  }
}

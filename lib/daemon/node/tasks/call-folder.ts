// The folder of a run for what its guests send along with a command: the user's own, so root must never walk through it by name.
import { chmod, chown, lstat, mkdir } from 'node:fs/promises'
import { VmrmError } from '../../../errors/vmrm-error.ts'

const removeMs = 60_000

/** Makes it where it is not there; the folder around it is root's. */
export async function makeCallFolder(path: string, owner: { uid: number; gid: number }): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if ((await lstat(path)).uid === owner.uid) return
  }
  await chown(path, owner.uid, owner.gid)
  await chmod(path, 0o700)
}

/**
 * Removes it with all that is in it; it is fine if there is none. By coreutils' rm, which goes from folder to folder by
 * descriptor: its owner may be exchanging folders for symbolic links meanwhile, and Node's own rm would follow them.
 */
export async function removeCallFolder(path: string): Promise<void> {
  const there = await lstat(path).catch(() => undefined)
  if (there === undefined) return
  const { execa } = await import('execa')
  const result = await execa('/usr/bin/rm', ['-rf', '--one-file-system', '--', path], {
    env: { LC_ALL: 'C.UTF-8' },
    extendEnv: false,
    cwd: '/',
    stdin: 'ignore',
    timeout: removeMs,
    maxBuffer: 1_048_576,
    reject: false,
  })
  if (!result.failed) return
  throw new VmrmError('command-failed', `rm of ${path} ended with ${result.exitCode ?? result.signal}`, {
    quoted: String(result.stderr).slice(-1000),
  })
}

// A template's files as one run gets them: in the run's folder, removed with it. A run never has a file of the store that its
// QEMU could write to: QEMU 7.2 opens a clone's memory for writing.
import { constants } from 'node:fs'
import { chmod, chown, copyFile, link, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import type { CloneSource } from '../vms/domain-of.ts'
import type { TemplateFiles } from './template-folder.ts'

const copyMs = 120_000
/** Of the folders in a run's folder. */
export const copyFolderPrefix = 'template-'

/**
 * The run's own copy of the memory, without its holes and without a byte copied where the file system can share blocks; and
 * the store's disk and state under names in the run's folder. For the run's first VM of this template; all others share it.
 * What could not be copied whole is removed: the VM that boots instead needs the room.
 */
export async function copyForRun(options: {
  key: string
  files: TemplateFiles
  runFolder: string
  owner: { uid: number; gid: number }
  signal: AbortSignal
}): Promise<CloneSource> {
  const { key, files, runFolder, owner, signal } = options
  const folder = join(runFolder, `${copyFolderPrefix}${key}`)
  const source = { key, ram: join(folder, 'ram'), state: join(folder, 'state'), disk: join(folder, 'disk.qcow2') }
  // The run's QEMUs get through; others do not, though the disk lets their group read it.
  await mkdir(folder, { mode: 0o700 })
  try {
    await chown(folder, owner.uid, owner.gid)
    await share(files.state, source.state, { uid: 0, gid: 0, mode: 0o600 })
    await share(files.disk, source.disk, { uid: 0, gid: owner.gid, mode: 0o640 })
    await copySparsely(files.ram, source.ram, signal)
    await chown(source.ram, owner.uid, owner.gid)
    await chmod(source.ram, 0o600)
    return source
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

/** One more name, or a copy where the two are on different file systems. */
async function share(from: string, to: string, owner: { uid: number; gid: number; mode: number }): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (!['EXDEV', 'EPERM', 'EMLINK'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE)
    await chown(to, owner.uid, owner.gid)
    await chmod(to, owner.mode)
  }
}

/** cp: neither runtime can look for the holes of a file. */
async function copySparsely(from: string, to: string, signal: AbortSignal): Promise<void> {
  const { execa } = await import('execa')
  const result = await execa('/usr/bin/cp', ['--reflink=auto', '--sparse=auto', '--', from, to], {
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C.UTF-8' },
    extendEnv: false,
    stdin: 'ignore',
    timeout: copyMs,
    killSignal: 'SIGKILL',
    maxBuffer: 65_536,
    reject: false,
    cancelSignal: signal,
  })
  signal.throwIfAborted()
  if (!result.failed) return
  const said = result.stderr.trim() || `cp ended with ${result.exitCode ?? result.signal ?? result.code}`
  const isFull = /No space left|[Qq]uota/.test(said)
  throw new VmrmError(
    isFull ? 'node-disk-full' : 'template-failed',
    `The memory of a template could not be copied to ${to}.`,
    {
      quoted: said,
    },
  )
}

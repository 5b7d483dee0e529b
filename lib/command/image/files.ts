// What is wrong with the files an entry names: there, readable by QEMU's users, of the stated format. It reads headers only.
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Image } from '../../config/image-schema.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { readImageSize } from '../../image/master.ts'
import { checkSeed } from '../../image/seed.ts'
import { error, type ImageProblem, warning } from './problem.ts'
import type { QemuUser } from './qemu-user.ts'

export interface FileCheckOptions {
  /** Whom to try the files as; undefined: as this process, with a warning. */
  readonly qemuUser: QemuUser | undefined
  /** paths/@seed of vmrmd.xml. */
  readonly seed: string
}

/** Files an entry needs, with what each is called. */
function neededFiles({ master, boot, os }: Image, seed: string): { what: string; path: string }[] {
  const files = [{ what: 'master', path: master.path }]
  if (boot.kind === 'direct') {
    files.push({ what: 'kernel', path: boot.kernel })
    if (boot.initrd !== undefined) files.push({ what: 'initrd', path: boot.initrd })
  }
  if (os.agent === 'seed') files.push({ what: 'seed', path: seed })
  return files
}

export async function fileProblems(image: Image, options: FileCheckOptions): Promise<ImageProblem[]> {
  const problems: ImageProblem[] = []
  for (const file of neededFiles(image, options.seed)) problems.push(...(await oneFile(file, options)))
  const isThere = !problems.some((problem) => problem.text.startsWith(`master: ${image.master.path} `))
  if (isThere) problems.push(...(await masterProblems(image)))
  const hasSeed = !problems.some((problem) => problem.text.startsWith(`seed: ${options.seed} `))
  if (image.os.agent === 'seed' && hasSeed) problems.push(...(await seedProblems(options.seed)))
  for (const mount of image.mounts.entries) {
    if (mount.kind !== 'export') continue
    const folder = await stat(mount.path).catch(() => undefined)
    if (folder === undefined) problems.push(error(`mounts: the folder ${mount.path} is not on this host`))
    else if (!folder.isDirectory()) problems.push(error(`mounts: ${mount.path} is no folder`))
  }
  return problems
}

async function oneFile(file: { what: string; path: string }, options: FileCheckOptions): Promise<ImageProblem[]> {
  const { what, path } = file
  const place = `${what}: ${path}`
  const found = await stat(path).catch((cause: NodeJS.ErrnoException) => cause)
  if (found instanceof Error) {
    return [
      error(found.code === 'ENOENT' ? `${place} does not exist` : `${place} cannot be looked at: ${found.message}`),
    ]
  }
  if (!found.isFile()) return [error(`${place} is no regular file`)]
  if (found.size === 0) return [error(`${place} is empty`)]
  const problems: ImageProblem[] = []
  // Whoever can write to a master decides what runs in everybody's VMs.
  if ((found.mode & 0o002) !== 0) problems.push(error(`${place} may be written by everyone`))
  const { qemuUser } = options
  if (qemuUser === undefined) {
    const isReadable = await access(path, constants.R_OK).then(
      () => true,
      () => false,
    )
    if (!isReadable) problems.push(error(`${place} cannot be read`))
  } else if (!(await qemuUser.may('read', path))) {
    problems.push(
      error(`${place} cannot be read by QEMU's users (${qemuUser.title})${await blockedBy(path, qemuUser)}`),
    )
  }
  return problems
}

/** The folder on the way that lets nobody through, where that is the reason. */
async function blockedBy(path: string, user: QemuUser): Promise<string> {
  const folders: string[] = []
  for (let folder = dirname(path); folder !== '/'; folder = dirname(folder)) folders.unshift(folder)
  for (const folder of folders) {
    if (!(await user.may('enter', folder))) return `: they do not get through ${folder}`
  }
  return ''
}

async function seedProblems(path: string): Promise<ImageProblem[]> {
  return checkSeed(path).then(
    () => [],
    (thrown) => [error(`seed: ${toVmrmError(thrown).message}`)],
  )
}

async function masterProblems({ master }: Image): Promise<ImageProblem[]> {
  try {
    await readImageSize(master.path, master.format)
  } catch (thrown) {
    return [error(`master: ${toVmrmError(thrown).message}`)]
  }
  return master.sha256 === undefined ? [warning('master: no sha256 is given, so a change of it goes unseen')] : []
}

// Owners and modes of vmrm's folders, what root reads as configuration, and room on disk.
import { readdir, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { uidOf } from '../uid-of.ts'
import { type Check, type DoctorContext, type Finding, fail, ok, problemsOr, roles, warn } from './check.ts'

const writableByOthers = 0o022

interface ExpectedFolder {
  readonly path: string
  readonly owner: string
  readonly uid: number
  readonly mode: number
  /** Whether the mode must be this one, or may be any that lets no other write. */
  readonly strictness: 'exact' | 'private-writing'
  readonly meaning: string
}

async function expectedFolders({ config, roles: own }: DoctorContext): Promise<ExpectedFolder[]> {
  const { runs, runtime, controllerState } = config.paths
  const root = { owner: 'root', uid: 0, strictness: 'exact' } as const
  const folders: ExpectedFolder[] = []
  if (own.has('node')) {
    const jobs = 'Who may write here decides which tasks run in VMs.'
    folders.push({
      path: runs,
      ...root,
      mode: 0o711,
      meaning: "QEMU's users must get through, and see no other's files.",
    })
    folders.push({ path: join(runtime, 'jobs'), ...root, mode: 0o755, meaning: jobs })
  }
  if (own.has('controller')) {
    const { user } = config.controller
    const meaning = "The ledger is the controller's alone; vmrmd must be able to write it."
    folders.push({
      ...{ path: controllerState, owner: user, uid: await uidOf(user), mode: 0o700 },
      ...{ strictness: 'private-writing', meaning },
    })
  }
  return folders
}

const octal = (mode: number): string => `0${(mode & 0o7777).toString(8)}`

async function folderProblem(folder: ExpectedFolder): Promise<Finding | undefined> {
  const { path, owner, uid, mode, strictness, meaning } = folder
  const mend = `install -d -o ${owner} -m ${octal(mode)} ${path}`
  const found = await stat(path).catch(() => undefined)
  if (found === undefined || !found.isDirectory()) return fail(`${path} is no folder`, meaning, mend)
  const isModeFine = strictness === 'exact' ? (found.mode & 0o7777) === mode : (found.mode & writableByOthers) === 0
  if (found.uid === uid && isModeFine) return undefined
  return fail(`${path} is uid ${found.uid}, ${octal(found.mode)}; it must be ${owner}'s, ${octal(mode)}`, meaning, mend)
}

const folders: Check = {
  name: 'folders',
  roles: ['node', 'controller'],
  async run(context) {
    const problems: Finding[] = []
    const expected = await expectedFolders(context)
    for (const folder of expected) {
      const problem = await folderProblem(folder)
      if (problem !== undefined) problems.push(problem)
    }
    return problemsOr(expected.map(({ path }) => path).join(', '), problems)
  },
}

/** Whoever can change these decides what root runs. */
const trustedFiles: Check = {
  name: 'configuration-files',
  roles,
  async run({ configPath, config }) {
    const { images } = config.paths
    const names = await readdir(images).catch(() => [])
    const paths = [
      '/etc/vmrm',
      configPath,
      images,
      ...names.filter((name) => name.endsWith('.xml')).map((name) => join(images, name)),
    ]
    const problems: Finding[] = []
    for (const path of paths) {
      const found = await stat(path).catch(() => undefined)
      if (found === undefined || (found.uid === 0 && (found.mode & writableByOthers) === 0)) continue
      problems.push(
        fail(
          `${path} is uid ${found.uid}, ${octal(found.mode)}`,
          'Others than root can change what vmrmd does as root.',
          `chown root ${path}; chmod go-w ${path}`,
        ),
      )
    }
    return problemsOr("only root can change vmrm's configuration", problems)
  },
}

const mib = 1024 * 1024
const lowMib = 5 * 1024
const emptyMib = 512

const disk: Check = {
  name: 'disk',
  roles: ['node', 'controller'],
  async run({ config, roles: own }) {
    const paths = [
      ...(own.has('node') ? [config.paths.runs] : []),
      ...(own.has('controller') ? [config.paths.controllerState] : []),
    ]
    const found: Finding[] = []
    for (const path of paths) {
      const room = await statfs(path).catch(() => undefined)
      if (room === undefined) continue
      const free = Math.floor((room.bavail * room.bsize) / mib)
      const text = `${path} has ${free} MiB free`
      const mend = 'Free space there, or move the folder (paths in vmrmd.xml) to a larger disk.'
      if (free < emptyMib) found.push(fail(text, 'VM jobs fail as soon as their guests write.', mend))
      else if (free < lowMib) found.push(warn(text, 'Guests that write much will find the disk full.', mend))
      else found.push(ok(text))
    }
    return found
  },
}

export const folderChecks: readonly Check[] = [folders, trustedFiles, disk]

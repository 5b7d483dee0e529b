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
  const { runs, runtime, templates, controllerState } = config.paths
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
    if (config.templates.maxMib > 0) {
      const meaning = "QEMU's users must get through to what they are making; every template in it is root's alone."
      folders.push({ path: templates, ...root, mode: 0o711, meaning })
    }
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

/** Magic numbers of statfs(2). */
const unfit: Readonly<Record<number, string>> = {
  16914836: 'tmpfs: what a clone writes would take memory twice',
  2240043254: 'ramfs: what a clone writes would take memory twice',
  26985: 'NFS: templates belong to one node, and every job would read its own over the network',
}

const templateFolder: Check = {
  name: 'templates',
  roles: ['node'],
  async run({ config }) {
    const { templates, runs } = config.paths
    const { maxMib } = config.templates
    if (maxMib === 0) return [ok('templates/@max-mib is 0: every VM boots')]
    const [room, ofRuns] = await Promise.all([templates, runs].map((path) => statfs(path).catch(() => undefined)))
    if (room === undefined || ofRuns === undefined) return [] // the check of the folders says so
    const problems: Finding[] = []
    for (const [path, { type }] of [
      [templates, room],
      [runs, ofRuns],
    ] as const) {
      const why = unfit[type]
      const mend = 'Put it on a local disk (paths in vmrmd.xml), or set templates/@max-mib="0".'
      if (why !== undefined) problems.push(warn(`${path} is on ${why}`, 'Clones cost more than they save.', mend))
    }
    const sizeMib = Math.floor((room.blocks * room.bsize) / mib)
    if (sizeMib < maxMib + lowMib) {
      const text = `templates/@max-mib is ${maxMib}, and the disk of ${templates} has ${sizeMib} MiB in all`
      problems.push(warn(text, 'Templates may fill it up.', 'Lower templates/@max-mib, or use a larger disk.'))
    }
    return problemsOr(`${templates} is on a local disk`, problems)
  },
}

export const folderChecks: readonly Check[] = [folders, trustedFiles, disk, templateFolder]

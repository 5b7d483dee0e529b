// `vmrm image check`: everything that is wrong with entries of the catalogue, at once. It changes nothing.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Image } from '../../config/image-schema.ts'
import { loadDaemonConfig, loadImage } from '../../config/load.ts'
import { exitCodeOfFamily } from '../../errors/catalogue.ts'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import { readOptions } from '../command.ts'
import { cleanLine } from '../table.ts'
import { sha256OfFile } from './checksum.ts'
import { fileProblems } from './files.ts'
import { error, type ImageProblem } from './problem.ts'
import { openQemuUser } from './qemu-user.ts'
import { entryProblems, pairProblems } from './rules.ts'

const usage = 'vmrm image check [--no-checksum] [NAME|FILE …]'

interface Entry {
  readonly path: string
  /** What the file holds, or why it cannot be read. */
  readonly image: Image | VmrmError
}

export async function checkImages(args: readonly string[]): Promise<number> {
  const { values, positionals } = readOptions(usage, args, { 'no-checksum': { type: 'boolean' } })
  const config = loadDaemonConfig()
  const catalogue = entriesOf(config.paths.images)
  const chosen = positionals.length === 0 ? catalogue : positionals.map((name) => find(name, catalogue, config))
  if (chosen.length === 0) process.stdout.write(`the catalogue ${config.paths.images} is empty\n`)
  if (process.getuid?.() !== 0)
    process.stderr.write("vmrm: not root: the files are tried as you, not as QEMU's users\n")
  let worst = 0
  for (const entry of chosen) {
    const problems = await problemsOf({ entry, catalogue, config, checksum: values['no-checksum'] !== true })
    process.stdout.write(renderProblems(entry, problems))
    if (problems.some((problem) => problem.severity === 'error')) worst = exitCodeOfFamily.config
  }
  return worst
}

/** All entries of a folder, those that cannot be read too. Throws `config-invalid` where the folder cannot. */
export function entriesOf(folder: string): Entry[] {
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.xml'))
  } catch (cause) {
    throw new VmrmError('config-invalid', `the catalogue ${folder} cannot be read: ${(cause as Error).message}`, {
      cause,
    })
  }
  return names.sort().map((name) => load(join(folder, name)))
}

function load(path: string): Entry {
  try {
    return { path, image: loadImage(path) }
  } catch (thrown) {
    const problem = toVmrmError(thrown)
    if (problem.code !== 'config-invalid') throw problem
    return { path, image: problem }
  }
}

/** A name is that of an entry of the catalogue; anything with a slash or `.xml` is a file. */
function find(name: string, catalogue: readonly Entry[], config: DaemonConfig): Entry {
  if (name.includes('/') || name.endsWith('.xml')) return load(name.includes('/') ? name : join(process.cwd(), name))
  const path = join(config.paths.images, `${name}.xml`)
  const entry = catalogue.find((one) => one.path === path)
  if (entry !== undefined) return entry
  throw new VmrmError('image-unknown', `the catalogue ${config.paths.images} has no ${JSON.stringify(`${name}.xml`)}`)
}

async function problemsOf(options: {
  entry: Entry
  catalogue: readonly Entry[]
  config: DaemonConfig
  checksum: boolean
}): Promise<ImageProblem[]> {
  const { entry, catalogue, config, checksum } = options
  const { image } = entry
  if (image instanceof VmrmError) return [error(image.message)]
  const problems = await staticProblems({ image, catalogue, config })
  const isReadable = !problems.some(({ text }) => text.startsWith('master: '))
  if (checksum && isReadable && image.master.sha256 !== undefined) problems.push(...(await checksumProblems(image)))
  return problems
}

/** Everything but the checksum: what `vmrm doctor` looks at, too. */
export async function staticProblems(options: {
  image: Image
  catalogue: readonly Entry[]
  config: DaemonConfig
}): Promise<ImageProblem[]> {
  const { image, catalogue, config } = options
  const site = { prepareSeconds: config.timeouts.prepareSeconds, exports: config.nfs.server }
  const others = catalogue
    .map((entry) => entry.image)
    .filter((other): other is Image => !(other instanceof VmrmError) && other.name !== image.name)
  const problems = [...entryProblems(image, site), ...others.flatMap((other) => pairProblems(image, other))]
  try {
    problems.push(...(await fileProblems(image, { qemuUser: await openQemuUser(config), seed: config.paths.seed })))
  } catch (thrown) {
    problems.push(error(`files: ${toVmrmError(thrown).message}`))
  }
  return problems
}

async function checksumProblems({ name, master }: Image): Promise<ImageProblem[]> {
  const onProgress = (percent: number): void => {
    process.stderr.write(`\r${name}: checksum of the master, ${String(percent).padStart(3)} %`)
  }
  const found = await sha256OfFile(master.path, process.stderr.isTTY ? { onProgress } : {})
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  if (found === master.sha256) return []
  return [error(`master: ${master.path} has SHA-256 ${found}, and the entry says ${master.sha256}`)]
}

function renderProblems({ path, image }: Entry, problems: readonly ImageProblem[]): string {
  const title = image instanceof VmrmError ? path : `${image.name} (${path})`
  if (problems.length === 0) return `${title}: ok\n`
  const lines = problems.map(({ severity, text }) => `  ${severity}: ${cleanLine(text)}`)
  return [`${title}:`, ...lines, ''].join('\n')
}

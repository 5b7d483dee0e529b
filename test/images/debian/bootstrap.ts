// Installs Debian packages into an empty folder, as debootstrap does, but with the versions, the sources and the checks of
// this machine's own apt. It owns the order of unpacking and configuring; it never leaves a mount.
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import type { FetchedPackage } from '../packages.ts'
import type { RootFile } from '../root-files.ts'
import { unpack } from '../root-tree.ts'
import { runTool } from '../tools.ts'

/** apt's own word for what every Debian has. */
const essential = '?essential'
const configureMs = 600_000

/** `name=version` of what apt would install into an empty system. */
async function simulate(names: readonly string[], signal: AbortSignal): Promise<string[]> {
  const options = ['Dir::State::status=/dev/null', 'APT::Install-Recommends=false'].flatMap((one) => ['-o', one])
  const text = await runTool('apt-get', [...options, '--simulate', '-y', 'install', ...names], { signal })
  return [...text.matchAll(/^Inst (\S+) \((\S+) /gm)].map(([, name, version]) => `${name}=${version}`)
}

/** All that `names` need, in an empty system. */
export const wantedBy = (names: readonly string[]) => (signal: AbortSignal) => simulate([essential, ...names], signal)

export async function writeRootFiles(root: string, files: readonly RootFile[]): Promise<void> {
  for (const { path, content, mode } of files) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content, { mode: mode ?? 0o644 })
  }
}

export interface RootRun {
  readonly root: string
  /** The folder that is on /mnt inside. */
  readonly packages: string
  readonly signal: AbortSignal
}

/** Runs a program of the root folder inside it, as root, with nothing of this machine but its kernel. */
export function runInRoot({ root, packages, signal }: RootRun, argv: readonly string[]): Promise<string> {
  const namespaces = ['--mount', '--pid', '--fork', '--kill-child', '--uts', '--ipc']
  const helper = join(import.meta.dirname, 'in-root')
  const env = { DEBIAN_FRONTEND: 'noninteractive', DEBCONF_NONINTERACTIVE_SEEN: 'true' }
  return runTool('unshare', [...namespaces, helper, root, packages, ...argv], { env, signal, timeoutMs: configureMs })
}

/** `dpkg --install` in the root. Dependencies are apt's work, and it has done it: dpkg only finds an order. */
function install(run: RootRun, packages: readonly FetchedPackage[]): Promise<string> {
  const inside = packages.map((one) => `/mnt/${one.file}`)
  return runInRoot(run, ['/usr/bin/dpkg', '--force-depends', '--force-unsafe-io', '--install', ...inside])
}

/** Installs the fetched packages into `root`, which is made. `early` is there before the first of them is configured. */
export async function bootstrap(options: {
  readonly run: RootRun
  readonly packages: readonly FetchedPackage[]
  readonly early: readonly RootFile[]
  readonly progress: (line: string) => void
}): Promise<void> {
  const { run, packages, early, progress } = options
  if (process.getuid?.() !== 0) {
    throw new VmrmError('command-failed', 'building an image: this one is configured in a chroot, which needs root')
  }
  const base = new Set((await simulate([essential], run.signal)).map((one) => one.slice(0, one.indexOf('='))))
  const isBase = (one: FetchedPackage): boolean => base.has(one.name) || one.name === 'usr-is-merged'
  const [first, rest] = [packages.filter(isBase), packages.filter((one) => !isBase(one))]
  await unpack(
    first.map((one) => one.path),
    run.root,
    run.signal,
  )
  for (const path of ['var/lib/dpkg/status', 'var/lib/dpkg/available']) await writeFile(join(run.root, path), '')
  await writeRootFiles(run.root, early)
  await install(run, first)
  progress(`base system of ${first.length} packages configured`)
  await install(run, rest)
  progress(`${rest.length} packages more configured`)
}

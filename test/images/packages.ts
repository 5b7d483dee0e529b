// Which Debian packages an image is made of, and where their files are. It owns the package cache; it never installs.
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { runTool } from './tools.ts'

export interface Package {
  readonly name: string
  readonly version: string
  /** Of the file, in apt's own notation: `SHA256:…`. */
  readonly checksum: string
  /** Name of the .deb as apt writes it. */
  readonly file: string
}

/** What apt would change its answer by: the lists it has. Cheap, so that an unchanged image is known without asking apt. */
export async function aptListsFingerprint(): Promise<string> {
  const folder = '/var/lib/apt/lists'
  const lists = (await readdir(folder)).filter((name) => /_(Packages|InRelease|Release)/.test(name)).sort()
  const parts = await Promise.all(
    lists.map(async (name) => {
      const { size, mtimeMs } = await stat(join(folder, name))
      return `${name} ${size} ${mtimeMs}`
    }),
  )
  return parts.join('\n')
}

function parseUri(line: string): Package | undefined {
  const match = /^'[^']*' (\S+) \d+ (\S+)$/.exec(line)
  const [, file, checksum] = match ?? []
  if (file === undefined || checksum === undefined) return undefined
  const [name, version] = file.split('_')
  return { name: name ?? file, version: decodeURIComponent(version ?? ''), checksum, file }
}

/** Names, or names with versions (`name=version`), of the packages an image is made of. */
export type WantedPackages = (signal: AbortSignal) => Promise<readonly string[]>

async function askApt(wantedBy: WantedPackages, signal: AbortSignal): Promise<Package[]> {
  const wanted = await wantedBy(signal)
  const text = await runTool('apt-get', ['download', '--print-uris', ...wanted], { signal })
  const packages = text.split('\n').flatMap((line) => parseUri(line) ?? [])
  if (packages.length === wanted.length) return packages
  throw new VmrmError('command-failed', `building an image: apt knows ${packages.length} of ${wanted.length} packages`)
}

/** The packages at the versions that apt would install now; asks apt for new lists only when it knows too little. */
export async function resolvePackages(wantedBy: WantedPackages, signal: AbortSignal): Promise<Package[]> {
  try {
    return await askApt(wantedBy, signal)
  } catch (error) {
    if (signal.aborted) throw error
    await runTool('apt-get', ['update', '--quiet'], { signal })
    return askApt(wantedBy, signal)
  }
}

export interface FetchedPackage extends Package {
  readonly path: string
}

export interface FetchedPackages {
  readonly files: readonly FetchedPackage[]
  /** How many were not in the cache. */
  readonly downloaded: number
}

/** Whether it holds a kernel with its modules. */
export const isKernel = (one: Package): boolean => /^linux-image-\d/.test(one.name)

/** Brings what the cache lacks, and nothing twice; a download that breaks off leaves nothing in the cache. */
export async function fetchPackages(
  packages: readonly Package[],
  cache: string,
  signal: AbortSignal,
): Promise<FetchedPackages> {
  await mkdir(cache, { recursive: true })
  const present = new Set(await readdir(cache))
  const missing = packages.filter((one) => !present.has(one.file))
  if (missing.length > 0) {
    const incoming = join(cache, `incoming-${process.pid}`)
    await mkdir(incoming)
    try {
      const wanted = missing.map((one) => `${one.name}=${one.version}`)
      // apt checks each file against the signed lists. As its own user it could not write into this folder.
      const options = ['--quiet', '-o', 'APT::Sandbox::User=root']
      await runTool('apt-get', ['download', ...options, ...wanted], { cwd: incoming, signal, timeoutMs: 600_000 })
      for (const one of missing) await rename(join(incoming, one.file), join(cache, one.file))
    } finally {
      await rm(incoming, { recursive: true, force: true })
    }
  }
  return { files: packages.map((one) => ({ ...one, path: join(cache, one.file) })), downloaded: missing.length }
}

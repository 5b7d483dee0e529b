// Which Debian packages an image is made of, and where their files are. It owns the package cache; it never installs.
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { runTool } from './tools.ts'

/** The package whose one dependency is the kernel to use. */
const kernelMetapackage = 'linux-image-cloud-amd64'

/** Libraries are named one by one: a resolver would bring debconf, perl and python. missing-libraries.ts finds gaps. */
const names = [
  ...['libc6', 'libc-bin', 'libcrypt1', 'libgmp10', 'libacl1', 'libattr1', 'libselinux1', 'libpcre2-8-0', 'libtinfo6'],
  ...['libsmartcols1', 'libmount1', 'libblkid1', 'libuuid1', 'libproc2-0', 'libncursesw6', 'zlib1g', 'libcap-ng0'],
  ...['libudev1', 'libsystemd0', 'libpam0g', 'libaudit1', 'libcap2', 'liblzma5', 'libzstd1', 'liblz4-1', 'libgcrypt20'],
  ...['libgpg-error0', 'libkmod2', 'libssl3', 'libreadline8'],
  ...['bash', 'dash', 'coreutils', 'util-linux', 'procps', 'sed', 'grep', 'mawk', 'findutils', 'tar', 'gzip'],
  ...['diffutils', 'hostname', 'mount', 'kmod', 'busybox-static', 'base-files', 'ncurses-base'],
  ...['dropbear-bin', 'libtomcrypt1', 'libtommath1'],
  ...['nfs-common', 'libtirpc3', 'libtirpc-common', 'libgssapi-krb5-2', 'libkrb5-3', 'libk5crypto3', 'libcom-err2'],
  ...['libkrb5support0', 'libkeyutils1'],
]

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

async function kernelPackage(): Promise<string> {
  const text = await runTool('apt-cache', ['show', '--no-all-versions', kernelMetapackage])
  const name = /^Depends: (linux-image-\S+)/m.exec(text)?.[1]
  if (name !== undefined) return name
  throw new VmrmError('command-failed', `building an image: ${kernelMetapackage} names no kernel package`)
}

function parseUri(line: string): Package | undefined {
  const match = /^'[^']*' (\S+) \d+ (\S+)$/.exec(line)
  const [, file, checksum] = match ?? []
  if (file === undefined || checksum === undefined) return undefined
  const [name, version] = file.split('_')
  return { name: name ?? file, version: decodeURIComponent(version ?? ''), checksum, file }
}

async function askApt(signal: AbortSignal): Promise<Package[]> {
  const wanted = [await kernelPackage(), ...names]
  const text = await runTool('apt-get', ['download', '--print-uris', ...wanted], { signal })
  const packages = text.split('\n').flatMap((line) => parseUri(line) ?? [])
  if (packages.length === wanted.length) return packages
  throw new VmrmError('command-failed', `building an image: apt knows ${packages.length} of ${wanted.length} packages`)
}

/** The packages at the versions that apt would install now; asks apt for new lists only when it knows too little. */
export async function resolvePackages(signal: AbortSignal): Promise<Package[]> {
  try {
    return await askApt(signal)
  } catch (error) {
    if (signal.aborted) throw error
    await runTool('apt-get', ['update', '--quiet'], { signal })
    return askApt(signal)
  }
}

export interface PackageFiles {
  /** Paths of the kernel's package and of all others. */
  readonly kernel: readonly string[]
  readonly system: readonly string[]
  /** How many were not in the cache. */
  readonly downloaded: number
}

/** Brings what the cache lacks, and nothing twice; a download that breaks off leaves nothing in the cache. */
export async function fetchPackages(
  packages: readonly Package[],
  cache: string,
  signal: AbortSignal,
): Promise<PackageFiles> {
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
  const isKernel = (one: Package): boolean => one.name.startsWith('linux-image-')
  return {
    kernel: packages.filter(isKernel).map((one) => join(cache, one.file)),
    system: packages.filter((one) => !isKernel(one)).map((one) => join(cache, one.file)),
    downloaded: missing.length,
  }
}

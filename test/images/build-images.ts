// Builds a set of image files in a folder of their own and moves them in place at the end. It owns the order of the
// steps; an interrupted build leaves the last whole image as it was.
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadImage } from '../../lib/config/load.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { type EntryFiles, renderEntry } from './catalogue-entry.ts'
import { makeDisk } from './disk.ts'
import { compileEarlyInit, type InitramfsKind, makeInitramfs } from './initramfs.ts'
import { unpackKernel } from './kernel.ts'
import { aptListsFingerprint, fetchPackages, type Package, resolvePackages } from './packages.ts'
import { finishRoot, installModules, unpack } from './root-tree.ts'
import * as stamps from './stamp.ts'

export interface BuildOptions {
  /** Absolute; made when missing. */
  readonly output: string
  /** Where downloaded packages are kept. */
  readonly cache: string
  /** The agent's binary. */
  readonly agent: string
  readonly signal: AbortSignal
  /** Called with one line a step. */
  readonly progress: (line: string) => void
}

export type BuildOutcome = 'built' | 'unchanged'

const stampName = 'tiny.stamp.json'

/** The images for tests of failures: the same disk and kernel, another start. */
const variants: readonly { name: string; initramfs: InitramfsKind | 'none'; title: string }[] = [
  { name: 'tiny', initramfs: 'working', title: 'Debian, as little as a job needs' },
  { name: 'tiny-panic', initramfs: 'panics', title: 'Panics while it boots (for tests)' },
  { name: 'tiny-hang', initramfs: 'hangs', title: 'Hangs while it boots (for tests)' },
  { name: 'tiny-noboot', initramfs: 'none', title: 'Has no kernel that starts (for tests)' },
]

async function upToDate(options: BuildOptions, sources: string): Promise<boolean> {
  const stamp = await stamps.readStamp(join(options.output, stampName))
  if (stamp === undefined || stamp.sources !== sources) return false
  if (stamp.aptLists !== stamps.sha256OfText(await aptListsFingerprint())) {
    if (stamp.packages !== stamps.packagesFingerprint(await resolvePackages(options.signal))) return false
  }
  return stamps.areFilesUnchanged(options.output, stamp)
}

async function removeLeftovers(output: string): Promise<void> {
  for (const name of await readdir(output)) {
    const pid = /^\.building-(\d+)-/.exec(name)?.[1]
    if (pid === undefined) continue
    try {
      process.kill(Number(pid), 0)
    } catch {
      // The build that made it is gone.
      await rm(join(output, name), { recursive: true, force: true })
    }
  }
}

async function makeFiles(options: BuildOptions, work: string, packages: readonly Package[]): Promise<string[]> {
  const { signal, progress } = options
  const fetched = await fetchPackages(packages, options.cache, signal)
  progress(`${packages.length} packages, ${fetched.downloaded} of them downloaded`)
  const root = join(work, 'root')
  const kernelTree = join(work, 'kernel')
  await unpack(fetched.system, root, signal)
  await unpack(fetched.kernel, kernelTree, signal)
  progress('unpacked')
  const release = (await readdir(join(kernelTree, 'lib/modules')))[0]
  if (release === undefined) throw new VmrmError('command-failed', 'building an image: the kernel has no modules')
  await installModules(kernelTree, root, release)
  const dropped = await finishRoot(root, options.agent)
  progress(`root folder laid out, left out for want of a library: ${dropped.join(' ') || 'nothing'}`)

  const done = join(work, 'done')
  await mkdir(done)
  await writeFile(
    join(done, 'tiny.vmlinux'),
    unpackKernel(await readFile(join(kernelTree, 'boot', `vmlinuz-${release}`))),
  )
  // What no loader takes for a kernel, but is there and can be read.
  await writeFile(join(done, 'tiny-noboot.vmlinux'), 'This is no kernel.\n'.repeat(1000))
  const init = join(work, 'early-init')
  await compileEarlyInit(init, signal)
  for (const { name, initramfs } of variants) {
    if (initramfs === 'none') continue
    await writeFile(join(done, `${name}.initrd`), await makeInitramfs({ root, release, kind: initramfs, init }))
  }
  progress('kernel unpacked, initramfs written')
  await makeDisk({ root, path: join(done, 'tiny.qcow2'), signal })
  progress('disk written')
  return readdir(done)
}

async function writeEntries(options: BuildOptions, done: string, facts: { revision: string; sha256: string }) {
  const at = (name: string): string => join(options.output, name)
  for (const { name, initramfs, title } of variants) {
    const entry: EntryFiles = {
      ...{ name, title, ...facts },
      master: at('tiny.qcow2'),
      kernel: at(initramfs === 'none' ? 'tiny-noboot.vmlinux' : 'tiny.vmlinux'),
      initrd: at(initramfs === 'none' ? 'tiny.initrd' : `${name}.initrd`),
    }
    const path = join(done, `${name}.xml`)
    await writeFile(path, renderEntry(entry))
    loadImage(path)
  }
}

/** Makes tiny and its broken variants, or finds that nothing they are made of has changed. */
export async function buildImages(options: BuildOptions): Promise<BuildOutcome> {
  const sources = await stamps.sourcesFingerprint(options.agent)
  await mkdir(options.output, { recursive: true })
  if (await upToDate(options, sources)) return 'unchanged'
  await removeLeftovers(options.output)
  const work = await mkdtemp(join(options.output, `.building-${process.pid}-`))
  try {
    // The fingerprint after the question: asking may bring new lists.
    const packages = await resolvePackages(options.signal)
    const aptLists = stamps.sha256OfText(await aptListsFingerprint())
    const names = await makeFiles(options, work, packages)
    const done = join(work, 'done')
    const sha256 = await stamps.sha256OfFile(join(done, 'tiny.qcow2'))
    await writeEntries(options, done, { revision: sha256.slice(0, 12), sha256 })
    const files: Record<string, string> = {}
    for (const name of names) files[name] = await stamps.sha256OfFile(join(done, name))
    const stamp = { sources, aptLists, packages: stamps.packagesFingerprint(packages), files }
    // The stamp goes first and comes back last: between the two no one takes a mixture for a whole image.
    await rm(join(options.output, stampName), { force: true })
    for (const name of await readdir(done)) await rename(join(done, name), join(options.output, name))
    await writeFile(join(work, stampName), JSON.stringify(stamp, null, 2))
    await rename(join(work, stampName), join(options.output, stampName))
    return 'built'
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

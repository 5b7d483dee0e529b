// Makes tiny and its broken variants from unpacked packages. It owns the order of the steps.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadImage } from '../../lib/config/load.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { type EntryFiles, renderEntry, tinyEntry } from './catalogue-entry.ts'
import { makeDisk } from './disk.ts'
import { type BuildOptions, type BuildOutcome, buildSet } from './image-set.ts'
import { compileEarlyInit, type InitramfsKind, makeInitramfs } from './initramfs.ts'
import { unpackKernel } from './kernel.ts'
import { fetchPackages, isKernel, type Package } from './packages.ts'
import { finishRoot, installModules, unpack } from './root-tree.ts'
import { sha256OfFile, sha256OfText, sourcesFingerprint } from './stamp.ts'
import { wantedOfTiny } from './tiny-packages.ts'

export interface TinyOptions extends BuildOptions {
  /** The agent's binary. */
  readonly agent: string
}

/** The images for tests of failures: the same disk and kernel, another start. */
const variants: readonly { name: string; initramfs: InitramfsKind | 'none'; title: string }[] = [
  { name: 'tiny', initramfs: 'working', title: 'Debian, as little as a job needs' },
  { name: 'tiny-panic', initramfs: 'panics', title: 'Panics while it boots (for tests)' },
  { name: 'tiny-hang', initramfs: 'hangs', title: 'Hangs while it boots (for tests)' },
  { name: 'tiny-noboot', initramfs: 'none', title: 'Has no kernel that starts (for tests)' },
]

async function makeFiles(options: TinyOptions, work: string, packages: readonly Package[]): Promise<void> {
  const { signal, progress } = options
  const fetched = await fetchPackages(packages, options.cache, signal)
  progress(`${packages.length} packages, ${fetched.downloaded} of them downloaded`)
  const root = join(work, 'root')
  const kernelTree = join(work, 'kernel')
  const paths = (wanted: boolean) => fetched.files.filter((one) => isKernel(one) === wanted).map((one) => one.path)
  await unpack(paths(false), root, signal)
  await unpack(paths(true), kernelTree, signal)
  progress('unpacked')
  const release = (await readdir(join(kernelTree, 'lib/modules')))[0]
  if (release === undefined) throw new VmrmError('command-failed', 'building an image: the kernel has no modules')
  await installModules(kernelTree, root, release)
  const dropped = await finishRoot(root, options.agent)
  progress(`root folder laid out, left out for want of a library: ${dropped.join(' ') || 'nothing'}`)

  const done = join(work, 'done')
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
  await makeDisk({ root, path: join(done, 'tiny.qcow2'), label: 'tiny', sizeMib: 2048, signal })
  progress('disk written')
}

async function writeEntries(output: string, done: string): Promise<void> {
  const sha256 = await sha256OfFile(join(done, 'tiny.qcow2'))
  const at = (name: string): string => join(output, name)
  for (const { name, initramfs, title } of variants) {
    const entry: EntryFiles = {
      ...{ name, title, sha256, revision: sha256.slice(0, 12) },
      master: at('tiny.qcow2'),
      kernel: at(initramfs === 'none' ? 'tiny-noboot.vmlinux' : 'tiny.vmlinux'),
      initrd: at(initramfs === 'none' ? 'tiny.initrd' : `${name}.initrd`),
    }
    const path = join(done, `${name}.xml`)
    await writeFile(path, renderEntry(tinyEntry(entry)))
    loadImage(path)
  }
}

/** Makes tiny and its broken variants, or finds that nothing they are made of has changed. */
export async function buildTiny(options: TinyOptions): Promise<BuildOutcome> {
  const sources = sha256OfText(`${await sourcesFingerprint('tiny')} ${await sha256OfFile(options.agent)}`)
  const make = async (work: string, packages: readonly Package[]): Promise<void> => {
    await makeFiles(options, work, packages)
    await writeEntries(options.output, join(work, 'done'))
  }
  return buildSet({ name: 'tiny', sources, wanted: wantedOfTiny, make }, options)
}

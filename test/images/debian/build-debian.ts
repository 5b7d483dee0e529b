// Makes the master image "debian": a real Debian with systemd and cloud-init. It owns the order of the steps.
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { loadImage } from '../../../lib/config/load.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { debianEntry, renderEntry } from '../catalogue-entry.ts'
import { makeDisk } from '../disk.ts'
import { type BuildOptions, type BuildOutcome, buildSet } from '../image-set.ts'
import { unpackKernel } from '../kernel.ts'
import { fetchPackages, type Package } from '../packages.ts'
import { sha256OfFile, sourcesFingerprint } from '../stamp.ts'
import { bootstrap, type RootRun, runInRoot, wantedBy, writeRootFiles } from './bootstrap.ts'
import { earlyFiles, isHostKey, lateFiles, maskedUnits, packageNames, unwantedPaths } from './recipe.ts'

const diskMib = 6144

/** What makes an installed system a master: nothing that two machines must not share, nothing that waits. */
async function finish(run: RootRun): Promise<void> {
  const { root } = run
  await runInRoot(run, ['/usr/bin/systemctl', 'mask', ...maskedUnits])
  for (const path of unwantedPaths) await rm(join(root, path), { recursive: true, force: true })
  for (const name of await readdir(join(root, 'etc/ssh'))) {
    if (isHostKey(name)) await rm(join(root, 'etc/ssh', name))
  }
  await writeRootFiles(root, lateFiles)
  await mkdir(join(root, 'var/cache/apt/archives/partial'), { recursive: true })
  await mkdir(join(root, 'var/lib/apt/lists/partial'), { recursive: true })
}

async function kernelRelease(root: string): Promise<string> {
  const release = (await readdir(join(root, 'usr/lib/modules')))[0]
  if (release === undefined) throw new VmrmError('command-failed', 'building an image: the kernel has no modules')
  return release
}

async function makeFiles(options: BuildOptions, work: string, packages: readonly Package[]): Promise<void> {
  const { signal, progress } = options
  const fetched = await fetchPackages(packages, options.cache, signal)
  progress(`${packages.length} packages, ${fetched.downloaded} of them downloaded`)
  const run = { root: join(work, 'root'), packages: options.cache, signal }
  await bootstrap({ run, packages: fetched.files, early: earlyFiles, progress })
  await finish(run)
  const done = join(work, 'done')
  const release = await kernelRelease(run.root)
  const boot = join(run.root, 'boot')
  await writeFile(join(done, 'debian.vmlinux'), unpackKernel(await readFile(join(boot, `vmlinuz-${release}`))))
  await copyFile(join(boot, `initrd.img-${release}`), join(done, 'debian.initrd'))
  const master = join(done, 'debian.qcow2')
  await makeDisk({ root: run.root, path: master, label: 'debian', sizeMib: diskMib, signal })
  progress('disk written')
  await writeEntry(options.output, done)
}

async function writeEntry(output: string, done: string): Promise<void> {
  const sha256 = await sha256OfFile(join(done, 'debian.qcow2'))
  const entry = debianEntry({
    ...{ name: 'debian', title: 'Debian 12 with systemd, cloud-init and MPI', sha256, revision: sha256.slice(0, 12) },
    master: join(output, 'debian.qcow2'),
    kernel: join(output, 'debian.vmlinux'),
    initrd: join(output, 'debian.initrd'),
  })
  const path = join(done, 'debian.xml')
  await writeFile(path, renderEntry(entry))
  loadImage(path)
}

/** Makes the Debian image, or finds that nothing it is made of has changed. Needs root. */
export async function buildDebian(options: BuildOptions): Promise<BuildOutcome> {
  const sources = await sourcesFingerprint('debian')
  const make = (work: string, packages: readonly Package[]) => makeFiles(options, work, packages)
  return buildSet({ name: 'debian', sources, wanted: wantedBy(packageNames), make }, options)
}

// Builds a set of image files in a folder of their own and moves them in place at the end. It owns stamps and leftovers;
// an interrupted build leaves the last whole set as it was.
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { aptListsFingerprint, type Package, resolvePackages, type WantedPackages } from './packages.ts'
import * as stamps from './stamp.ts'

export interface BuildOptions {
  /** Absolute; made when missing. */
  readonly output: string
  /** Where downloaded packages are kept. */
  readonly cache: string
  readonly signal: AbortSignal
  /** Called with one line a step. */
  readonly progress: (line: string) => void
}

export type BuildOutcome = 'built' | 'unchanged'

export interface ImageSet {
  /** Its stamp is `NAME.stamp.json`. */
  readonly name: string
  /** Of everything but packages that the files are made of. */
  readonly sources: string
  readonly wanted: WantedPackages
  /** Makes the files in `work`/done; whatever else it makes in `work` goes away. */
  make(work: string, packages: readonly Package[]): Promise<void>
}

async function upToDate(set: ImageSet, options: BuildOptions): Promise<boolean> {
  const stamp = await stamps.readStamp(join(options.output, `${set.name}.stamp.json`))
  if (stamp === undefined || stamp.sources !== set.sources) return false
  if (stamp.aptLists !== stamps.sha256OfText(await aptListsFingerprint())) {
    const packages = await resolvePackages(set.wanted, options.signal)
    if (stamp.packages !== stamps.packagesFingerprint(packages)) return false
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

/** Makes the set, or finds that nothing it is made of has changed. */
export async function buildSet(set: ImageSet, options: BuildOptions): Promise<BuildOutcome> {
  await mkdir(options.output, { recursive: true })
  if (await upToDate(set, options)) return 'unchanged'
  await removeLeftovers(options.output)
  const work = await mkdtemp(join(options.output, `.building-${process.pid}-`))
  try {
    // The fingerprint after the question: asking may bring new lists.
    const packages = await resolvePackages(set.wanted, options.signal)
    const aptLists = stamps.sha256OfText(await aptListsFingerprint())
    const done = join(work, 'done')
    await mkdir(done)
    await set.make(work, packages)
    const files: Record<string, string> = {}
    for (const name of await readdir(done)) files[name] = await stamps.sha256OfFile(join(done, name))
    const stamp = { sources: set.sources, aptLists, packages: stamps.packagesFingerprint(packages), files }
    const stampName = `${set.name}.stamp.json`
    // The stamp goes first and comes back last: between the two no one takes a mixture for a whole set.
    await rm(join(options.output, stampName), { force: true })
    for (const name of await readdir(done)) await rename(join(done, name), join(options.output, name))
    await writeFile(join(work, stampName), JSON.stringify(stamp, null, 2))
    await rename(join(work, stampName), join(options.output, stampName))
    return 'built'
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

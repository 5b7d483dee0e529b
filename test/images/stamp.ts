// Knows whether an image is up to date: a stamp beside it records what went in and what came out.
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Package } from './packages.ts'

export interface Stamp {
  /** Of the build's own sources and, where the image has it, the agent. */
  readonly sources: string
  /** Of apt's lists: when they are the same the packages are too. */
  readonly aptLists: string
  /** Of the packages' names and checksums. */
  readonly packages: string
  /** sha256 by file name. */
  readonly files: Readonly<Record<string, string>>
}

export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash)
  return hash.digest('hex')
}

export const sha256OfText = (text: string): string => createHash('sha256').update(text).digest('hex')

/**
 * Changes with the files of this folder that the image is made by; tests and documents are left out, as is what belongs to
 * the other image alone: the folder `debian`, and for `debian` what is listed here.
 */
export async function sourcesFingerprint(image: 'tiny' | 'debian'): Promise<string> {
  const files = (await readdir(import.meta.dirname, { recursive: true })).sort()
  const parts: string[] = []
  for (const name of files) {
    const path = join(import.meta.dirname, name)
    if (/\.test\.ts$|\.md$|^fixtures/.test(name) || !(await stat(path)).isFile()) continue
    if (image === 'tiny' ? name.startsWith('debian/') : ofTinyAlone.test(name)) continue
    parts.push(`${name} ${await sha256OfFile(path)}`)
  }
  return sha256OfText(parts.join('\n'))
}

const ofTinyAlone = /^guest\/|^tiny-|^(build-tiny|cpio|initramfs|modules|root-files|main)\.ts$/

export const packagesFingerprint = (packages: readonly Package[]): string =>
  sha256OfText(packages.map((one) => `${one.name} ${one.version} ${one.checksum}`).join('\n'))

/** The stamp of an earlier build, or undefined where there is none that can be read. */
export async function readStamp(path: string): Promise<Stamp | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(path, 'utf8'))
    if (typeof value !== 'object' || value === null) return undefined
    const { sources, aptLists, packages, files } = value as Record<string, unknown>
    const texts = [sources, aptLists, packages]
    if (!texts.every((text) => typeof text === 'string') || typeof files !== 'object') return undefined
    return value as Stamp
  } catch {
    // No stamp, or a damaged one: the image is built again.
    return undefined
  }
}

/** Whether the files of a stamp are there with the bytes they were made with. */
export async function areFilesUnchanged(folder: string, stamp: Stamp): Promise<boolean> {
  try {
    for (const [name, sha256] of Object.entries(stamp.files)) {
      if ((await sha256OfFile(join(folder, name))) !== sha256) return false
    }
    return true
  } catch {
    // A file is missing: that is the answer.
    return false
  }
}

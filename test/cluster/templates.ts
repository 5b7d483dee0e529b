// Templates that clusters of this machine have made, for later ones: all their nodes are this machine, so what one has made
// fits all. It keeps those of the test images alone, a few of them, and shares files by hard links: nobody writes to one.
import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Layout } from './layout.ts'

/** Each takes some 90 MiB. */
const most = 16
const wholeKey = /^[0-9a-f]{24}$/

const keptIn = (layout: Layout): string => join(layout.images, 'templates')

const storesOf = (layout: Layout): readonly string[] =>
  layout.hosts.filter(({ role }) => role === 'node').map(({ folder }) => join(folder, 'var/lib/vmrm/templates'))

const keysIn = (folder: string): readonly string[] =>
  existsSync(folder) ? readdirSync(folder).filter((name) => wholeKey.test(name)) : []

/** Images that the templates may be of: `NAME@REVISION`, as they are now. */
function currentImages(layout: Layout): ReadonlySet<string> {
  const entries = existsSync(layout.images) ? readdirSync(layout.images).filter((name) => name.endsWith('.xml')) : []
  const texts = entries.map((name) => readFileSync(join(layout.images, name), 'utf8'))
  return new Set(texts.map((text) => /name="([^"]*)" revision="([^"]*)"/.exec(text)?.slice(1).join('@') ?? ''))
}

/** Undefined when another cluster, which comes or goes at the same time, removes the template just now. */
function imageOf(folder: string): string | undefined {
  try {
    const record = JSON.parse(readFileSync(join(folder, 'template.json'), 'utf8')) as { parts: { image: string } }
    return record.parts.image
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Before the daemons of a fresh cluster start. */
export function giveTemplates(layout: Layout): void {
  const images = currentImages(layout)
  for (const key of keysIn(keptIn(layout))) {
    const kept = join(keptIn(layout), key)
    const image = imageOf(kept)
    if (image === undefined) continue
    if (!images.has(image)) removeFolder(kept)
    else for (const store of storesOf(layout)) linkFolder(kept, join(store, key))
  }
}

/** When all hosts have ended; `hosts` is the folder of their files. */
export function keepTemplates(layout: Layout, hosts: string): void {
  const images = currentImages(layout)
  for (const host of existsSync(hosts) ? readdirSync(hosts) : []) {
    const store = join(hosts, host, 'var/lib/vmrm/templates')
    for (const key of keysIn(store)) {
      const isSettled = existsSync(join(store, key, 'settled'))
      const isCurrent = images.has(imageOf(join(store, key)) ?? '')
      if (!isSettled || keysIn(keptIn(layout)).length >= most || !isCurrent) continue
      linkFolder(join(store, key), join(keptIn(layout), key))
    }
  }
}

/** Out of sight at once, so that nobody links what is half removed. */
function removeFolder(path: string): void {
  const gone = `${path}.${process.pid}.gone`
  try {
    renameSync(path, gone)
  } catch {
    return // another cluster was quicker
  }
  rmSync(gone, { recursive: true, force: true })
}

/** As a whole or not at all, since clusters come and go at the same time. */
function linkFolder(from: string, to: string): void {
  if (existsSync(to)) return
  const half = `${to}.${process.pid}`
  mkdirSync(half, { recursive: true, mode: 0o700 })
  try {
    for (const name of readdirSync(from)) if (name !== 'uses.json') linkSync(join(from, name), join(half, name))
    renameSync(half, to)
  } catch {
    // Another cluster was quicker, or the two folders are on different disks: then a template is made again.
    rmSync(half, { recursive: true, force: true })
  }
}

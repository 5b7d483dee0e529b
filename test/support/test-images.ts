// Catalogue entries that a test makes from those of the tiny images, for as long as it needs them.
// It never changes an entry that is there.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Cluster } from './cluster.ts'

export interface TestImage {
  readonly name: string
  /** The entry it starts from; default `tiny`. */
  readonly like?: 'tiny' | 'tiny-panic' | 'tiny-hang' | 'tiny-noboot'
  /** Applied to the entry's XML in turn; each pattern must be there. */
  readonly changes?: readonly (readonly [pattern: string | RegExp, replacement: string])[]
}

/** Runs `work` with these images in the catalogue of every host of the cluster. */
export async function withImages<T>(
  cluster: Cluster,
  images: readonly TestImage[],
  work: () => Promise<T>,
): Promise<T> {
  const paths = images.map(({ name }) => join(cluster.layout.folder, 'images.d', `${name}.xml`))
  try {
    images.forEach((image, at) => void writeEntry(cluster, image, paths[at] ?? ''))
    return await work()
  } finally {
    for (const path of paths) rmSync(path, { force: true })
  }
}

function writeEntry(cluster: Cluster, image: TestImage, path: string): void {
  if (existsSync(path)) throw new Error(`${path} is there already`)
  let xml = readFileSync(join(cluster.layout.images, `${image.like ?? 'tiny'}.xml`), 'utf8')
  const renamed: [RegExp, string][] = [
    [/<image version="1" name="[^"]*"/, `<image version="1" name="${image.name}"`],
    [/<hostnames range="[^"]*"/, `<hostnames range="${image.name}-[0001-9999]"`],
  ]
  for (const [pattern, replacement] of [...renamed, ...(image.changes ?? [])]) {
    const changed = xml.replace(pattern, () => replacement)
    if (changed === xml) throw new Error(`image ${image.name}: nothing to replace: ${pattern}`)
    xml = changed
  }
  writeFileSync(path, xml)
}

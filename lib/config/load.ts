// Loads vmrmd.xml and the catalogue. It owns which files are read; their shape is in the schemas.
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { VmrmError } from '../errors/vmrm-error.ts'
import { addressPool, hostnameRange } from '../network/address.ts'
import { type DaemonConfig, daemonConfigSchema } from './daemon-schema.ts'
import { type Image, imageSchema } from './image-schema.ts'
import { readXmlFile } from './read-xml-file.ts'

export const defaultConfigPath = '/etc/vmrm/vmrmd.xml'

/** Throws `config-invalid` with file and line. */
export function loadDaemonConfig(path: string = defaultConfigPath): DaemonConfig {
  return readXmlFile({ path, root: 'vmrmd', schema: daemonConfigSchema })
}

/** One catalogue entry. Throws `config-invalid` with file and line; the name must be the file's. */
export function loadImage(path: string): Image {
  const image = readXmlFile({ path, root: 'image', schema: imageSchema, literal: 'domain' })
  if (!path.endsWith(`/${image.name}.xml`)) {
    throw new VmrmError('config-invalid', `${path}: the file of image ${image.name} must be called ${image.name}.xml`)
  }
  try {
    hostnameRange(image.hostnames.range)
    addressPool(image.network)
  } catch (cause) {
    throw new VmrmError('config-invalid', `${path}: ${(cause as Error).message}`, { cause })
  }
  return image
}

export interface Catalogue {
  /** The images by name, read again when a file has changed. A bad entry is left out; see `problems`. */
  images(): ReadonlyMap<string, Image>
  /** Why entries were left out. */
  problems(): readonly VmrmError[]
  /** The file of an image. */
  fileOf(name: string): string
}

export function openCatalogue(folder: string): Catalogue {
  const cache = new Map<string, { stamp: string; image: Image | VmrmError }>()
  const scan = (): readonly (Image | VmrmError)[] => {
    const names = listXml(folder)
    for (const name of cache.keys()) if (!names.includes(name)) cache.delete(name)
    return names.map((name) => {
      const path = join(folder, name)
      const { mtimeMs, size, ino } = statSync(path)
      const stamp = `${mtimeMs} ${size} ${ino}`
      const known = cache.get(name)
      if (known?.stamp === stamp) return known.image
      const image = tryLoad(path)
      cache.set(name, { stamp, image })
      return image
    })
  }
  return {
    images() {
      const images = scan().filter((entry): entry is Image => !(entry instanceof VmrmError))
      return new Map(images.map((image) => [image.name, image]))
    },
    problems: () => scan().filter((entry) => entry instanceof VmrmError),
    fileOf: (name) => join(folder, `${name}.xml`),
  }
}

function tryLoad(path: string): Image | VmrmError {
  try {
    return loadImage(path)
  } catch (error) {
    if (error instanceof VmrmError) return error
    throw error
  }
}

function listXml(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.xml'))
      .sort()
  } catch (cause) {
    throw new VmrmError('config-invalid', `the catalogue ${folder} cannot be read: ${(cause as Error).message}`, {
      cause,
    })
  }
}

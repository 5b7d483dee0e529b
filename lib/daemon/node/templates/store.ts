// The templates on a node's disk: one folder each, named after its key, which appears by one rename when it is whole and
// disappears by one. What is in it only root may read; it never gives a file of it to anybody (run-copy.ts does).
import { chmod, chown, lstat, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { isTemplateKey, type TemplateParts, templateKey, templatePartNames } from '../../../image/template/key.ts'
import type { Log } from '../../../log.ts'
import { removeFolderDurably, syncPath, writeDurably } from '../../durable-file.ts'

const subjectSchema = z.strictObject({
  image: z.string(),
  vcpus: z.int().min(1),
  memoryMib: z.int().min(1),
  /** Whose VMs may come from it, where that is one user. */
  uid: z.int().min(0).optional(),
})
/** What a template is for, as far as it can be asked for again. */
export type TemplateSubject = z.infer<typeof subjectSchema>

const recordSchema = z.strictObject({
  version: z.literal(1),
  subject: subjectSchema,
  parts: z.record(z.enum(templatePartNames), z.string()),
  madeMs: z.int(),
  /** The boot of the host in which it was made: until it is known to be on the disk, it does not outlive that. */
  bootId: z.string(),
})
const usesSchema = z.strictObject({ usedMs: z.int(), uses: z.int() })

export interface StoredTemplate {
  readonly key: string
  readonly subject: TemplateSubject
  readonly parts: TemplateParts
  readonly madeMs: number
  /** When a VM was last cloned from it, or when it was made. */
  readonly usedMs: number
  readonly uses: number
  /** Really taken on the disk. */
  readonly bytes: number
  readonly files: TemplateFiles
  readonly isHeld: boolean
}

export interface TemplateFiles {
  readonly folder: string
  readonly ram: string
  readonly state: string
  /** What the guest had written over its master. */
  readonly disk: string
}

function templateFiles(folder: string): TemplateFiles {
  return { folder, ram: join(folder, 'ram'), state: join(folder, 'state'), disk: join(folder, 'disk.qcow2') }
}

/** Prefixes of folders that are no templates yet, or no more: whatever is in them goes when the daemon starts. */
const making = 'making-'
const removing = 'removing-'

export class TemplateStore {
  readonly #folder: string
  readonly #log: Log
  readonly #now: () => number
  readonly #templates = new Map<string, Omit<StoredTemplate, 'isHeld'>>()
  readonly #holds = new Map<string, number>()

  constructor(options: { folder: string; log: Log; now: () => number }) {
    this.#folder = options.folder
    this.#log = options.log
    this.#now = options.now
  }

  /** Learns what is there, and removes what is half made, half removed, or may not have reached the disk. */
  async load(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o711 })
    // A QEMU that makes a template must get through to its own folder, and see no other.
    await chmod(this.#folder, 0o711)
    for (const name of await readdir(this.#folder)) {
      const path = join(this.#folder, name)
      if (name.startsWith(making) || name.startsWith(removing)) await rm(path, { recursive: true, force: true })
      if (!isTemplateKey(name)) continue
      const template = await this.#read(name)
      if (template !== undefined) this.#templates.set(name, template)
      else {
        this.#log.warn('template.not-whole', { key: name })
        await this.#removeFolder(name)
      }
    }
  }

  all(): readonly StoredTemplate[] {
    return [...this.#templates.values()].map((template) => ({ ...template, isHeld: this.#holds.has(template.key) }))
  }

  find(key: string): StoredTemplate | undefined {
    const template = this.#templates.get(key)
    return template === undefined ? undefined : { ...template, isHeld: this.#holds.has(key) }
  }

  /** An empty folder to make a template in, for this QEMU alone. */
  async begin(key: string, owner: { uid: number; gid: number }): Promise<TemplateFiles> {
    const folder = join(this.#folder, `${making}${key}`)
    await rm(folder, { recursive: true, force: true })
    await mkdir(folder, { mode: 0o700 })
    await chown(folder, owner.uid, owner.gid)
    return templateFiles(folder)
  }

  /** Keys of what `begin` made and nobody has published or abandoned. */
  async unfinished(): Promise<readonly string[]> {
    const names = await readdir(this.#folder)
    return names.filter((name) => name.startsWith(making)).map((name) => name.slice(making.length))
  }

  /** Removes what `begin` made; safe to repeat. */
  async abandon(key: string): Promise<void> {
    await rm(join(this.#folder, `${making}${key}`), { recursive: true, force: true })
  }

  /**
   * Makes a template of what is in the folder of `begin`; nobody may write to it any more. It can be used at once, and
   * outlives a crash of the machine as soon as `settled` resolves.
   */
  async publish(options: { subject: TemplateSubject; parts: TemplateParts; diskGid: number }): Promise<{
    template: StoredTemplate
    settled: Promise<void>
  }> {
    const { subject, parts, diskGid } = options
    const key = templateKey(parts)
    const from = templateFiles(join(this.#folder, `${making}${key}`))
    const mine: readonly string[] = [from.ram, from.state, from.disk]
    for (const name of await readdir(from.folder)) {
      const path = join(from.folder, name)
      if (!mine.includes(path)) await rm(path, { recursive: true, force: true })
    }
    for (const path of mine) {
      await chown(path, 0, path === from.disk ? diskGid : 0)
      // The disk is shared with runs by its name in their folders, for reading only.
      await chmod(path, path === from.disk ? 0o640 : 0o600)
    }
    await chown(from.folder, 0, 0)
    const madeMs = this.#now()
    const record = { version: 1, subject, parts, madeMs, bootId: await readBootId() } as const
    await writeFile(join(from.folder, 'template.json'), JSON.stringify(record), { mode: 0o600 })
    const to = templateFiles(join(this.#folder, key))
    await rename(from.folder, to.folder)
    const bytes = await bytesOf(to.folder)
    this.#templates.set(key, { key, subject, parts, madeMs, usedMs: madeMs, uses: 0, bytes, files: to })
    return { template: { ...this.#templates.get(key), isHeld: false } as StoredTemplate, settled: settle(to) }
  }

  /** Keeps it from being removed until the returned function is called. */
  hold(key: string): () => void {
    this.#holds.set(key, (this.#holds.get(key) ?? 0) + 1)
    return () => {
      const left = (this.#holds.get(key) ?? 1) - 1
      if (left > 0) this.#holds.set(key, left)
      else this.#holds.delete(key)
    }
  }

  /** A VM comes from it: this is what its age counts from. */
  async recordUse(key: string): Promise<void> {
    const template = this.#templates.get(key)
    if (template === undefined) return
    const uses = { usedMs: this.#now(), uses: template.uses + 1 }
    this.#templates.set(key, { ...template, ...uses })
    // Not worth a wait for the disk: a count that is lost makes a template look older than it is.
    const path = join(template.files.folder, 'uses.json')
    await writeFile(`${path}.new`, JSON.stringify(uses), { mode: 0o600 })
      .then(() => rename(`${path}.new`, path))
      .catch(() => {})
  }

  async remove(key: string): Promise<'removed' | 'held' | 'unknown'> {
    if (!this.#templates.has(key)) return 'unknown'
    if (this.#holds.has(key)) return 'held'
    this.#templates.delete(key)
    await this.#removeFolder(key)
    return 'removed'
  }

  async #removeFolder(key: string): Promise<void> {
    const removed = join(this.#folder, `${removing}${key}`)
    await rm(removed, { recursive: true, force: true })
    await rename(join(this.#folder, key), removed)
    await removeFolderDurably(removed)
  }

  async #read(key: string): Promise<Omit<StoredTemplate, 'isHeld'> | undefined> {
    const files = templateFiles(join(this.#folder, key))
    try {
      const text = await readFile(join(files.folder, 'template.json'), 'utf8')
      const { subject, parts, madeMs, bootId } = recordSchema.parse(JSON.parse(text))
      if (templateKey(parts) !== key) return undefined
      for (const path of [files.ram, files.state, files.disk]) await lstat(path)
      if (bootId !== (await readBootId())) await lstat(join(files.folder, 'settled'))
      const { usedMs, uses } = await readUses(files.folder, madeMs)
      return { key, subject, parts, madeMs, usedMs, uses, bytes: await bytesOf(files.folder), files }
    } catch {
      return undefined // load() says so and removes it
    }
  }
}

async function readUses(folder: string, madeMs: number): Promise<z.infer<typeof usesSchema>> {
  try {
    return usesSchema.parse(JSON.parse(await readFile(join(folder, 'uses.json'), 'utf8')))
  } catch {
    return { usedMs: madeMs, uses: 0 }
  }
}

/** Brings it to the disk: too slow for a job to wait for. */
async function settle({ folder, ram, state, disk }: TemplateFiles): Promise<void> {
  for (const path of [ram, state, disk, join(folder, 'template.json'), folder]) await syncPath(path)
  await writeDurably(join(folder, 'settled'), '')
  await syncPath(join(folder, '..'))
}

async function bytesOf(folder: string): Promise<number> {
  const names = await readdir(folder)
  const blocks = await Promise.all(names.map(async (name) => (await lstat(join(folder, name))).blocks))
  return blocks.reduce((sum, each) => sum + each, 0) * 512
}

async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
}

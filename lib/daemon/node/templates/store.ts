// The templates on a node's disk: one folder each, named after its key, which appears by one rename when it is whole and
// disappears by one. What is in it only root may read; it never gives a file of it to anybody (run-copy.ts does).
import { chmod, chown, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { isTemplateKey, type TemplateParts, templateKey } from '../../../image/template/key.ts'
import type { Log } from '../../../log.ts'
import { removeFolderDurably } from '../../durable-file.ts'
import {
  bytesOf,
  readTemplate,
  settle,
  type Template,
  type TemplateFiles,
  type TemplateSubject,
  takeOver,
  templateFiles,
  writeRecord,
  writeUses,
} from './template-folder.ts'

export interface StoredTemplate extends Template {
  readonly isHeld: boolean
}

/** Prefixes of folders that are no templates yet, or no more: whatever is in them goes when the daemon starts. */
const making = 'making-'
const removing = 'removing-'

export class TemplateStore {
  readonly #folder: string
  readonly #log: Log
  readonly #now: () => number
  readonly #templates = new Map<string, Template>()
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
      const template = await readTemplate(join(this.#folder, name), name)
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
    await takeOver(from, diskGid)
    const madeMs = this.#now()
    await writeRecord(from, { subject, parts, madeMs })
    const to = templateFiles(join(this.#folder, key))
    await rename(from.folder, to.folder)
    const bytes = await bytesOf(to.folder)
    const template = { key, subject, parts, madeMs, usedMs: madeMs, uses: 0, bytes, files: to }
    this.#templates.set(key, template)
    return { template: { ...template, isHeld: false }, settled: settle(to) }
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
    await writeUses(template.files, uses)
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
}

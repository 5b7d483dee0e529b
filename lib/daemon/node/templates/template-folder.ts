// What is in the folder of one template, and how it is written and read: its memory, its state and its disk, what it is of, how often
// it was used, and that all of it is on the disk. It knows no other template.
import { chmod, chown, lstat, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { type TemplateParts, templateKey, templatePartNames } from '../../../image/template/key.ts'
import { syncPath, writeDurably } from '../../durable-file.ts'

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

export interface Template {
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
}

export interface TemplateFiles {
  readonly folder: string
  readonly ram: string
  readonly state: string
  /** What the guest had written over its master. */
  readonly disk: string
}

export function templateFiles(folder: string): TemplateFiles {
  return { folder, ram: join(folder, 'ram'), state: join(folder, 'state'), disk: join(folder, 'disk.qcow2') }
}

/** From the QEMU that has made it: only what belongs to it stays, and nobody may write to it any more. */
export async function takeOver({ folder, ram, state, disk }: TemplateFiles, diskGid: number): Promise<void> {
  const mine: readonly string[] = [ram, state, disk]
  for (const name of await readdir(folder)) {
    const path = join(folder, name)
    if (!mine.includes(path)) await rm(path, { recursive: true, force: true })
  }
  for (const path of mine) {
    await chown(path, 0, path === disk ? diskGid : 0)
    // The disk is shared with runs by its name in their folders, for reading only.
    await chmod(path, path === disk ? 0o640 : 0o600)
  }
  await chown(folder, 0, 0)
}

export async function writeRecord(
  { folder }: TemplateFiles,
  made: Pick<Template, 'subject' | 'parts' | 'madeMs'>,
): Promise<void> {
  const record = { version: 1, ...made, bootId: await readBootId() } satisfies z.infer<typeof recordSchema>
  await writeFile(join(folder, 'template.json'), JSON.stringify(record), { mode: 0o600 })
}

/** Not worth a wait for the disk, or a word where it fails: a count that is lost makes a template look older than it is. */
export async function writeUses({ folder }: TemplateFiles, uses: Pick<Template, 'usedMs' | 'uses'>): Promise<void> {
  const path = join(folder, 'uses.json')
  await writeFile(`${path}.new`, JSON.stringify(uses), { mode: 0o600 })
    .then(() => rename(`${path}.new`, path))
    .catch(() => {})
}

/** Undefined where it is not whole, not of that key, or may not have reached the disk before the machine went down. */
export async function readTemplate(folder: string, key: string): Promise<Template | undefined> {
  const files = templateFiles(folder)
  try {
    const text = await readFile(join(folder, 'template.json'), 'utf8')
    const { subject, parts, madeMs, bootId } = recordSchema.parse(JSON.parse(text))
    if (templateKey(parts) !== key) return undefined
    for (const path of [files.ram, files.state, files.disk]) await lstat(path)
    if (bootId !== (await readBootId())) await lstat(join(folder, 'settled'))
    const { usedMs, uses } = await readUses(folder, madeMs)
    return { key, subject, parts, madeMs, usedMs, uses, bytes: await bytesOf(folder), files }
  } catch {
    return undefined // the store says so and removes it
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
export async function settle({ folder, ram, state, disk }: TemplateFiles): Promise<void> {
  for (const path of [ram, state, disk, join(folder, 'template.json'), folder]) await syncPath(path)
  await writeDurably(join(folder, 'settled'), '')
  await syncPath(join(folder, '..'))
}

/** Really taken on the disk. */
export async function bytesOf(folder: string): Promise<number> {
  const names = await readdir(folder)
  const blocks = await Promise.all(names.map(async (name) => (await lstat(join(folder, name))).blocks))
  return blocks.reduce((sum, each) => sum + each, 0) * 512
}

async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
}

// What a template is a template of, and its key. Pure: the parts are texts that people can read, so that they see why two
// keys differ; the key is nothing but a hash of them.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'

/**
 * Everything that a guest's memory depends on. A VM may be cloned from a template only if all of them are its own:
 * files by inode, size and time of their last change, versions as programs say them.
 */
export const templatePartNames = [
  'image',
  'master',
  'kernel',
  'initrd',
  'seed',
  'vcpus',
  'memory',
  'domain',
  'libvirt',
  'emulator',
  'processor',
  'host-kernel',
  'user',
] as const
export type TemplatePart = (typeof templatePartNames)[number]
export type TemplateParts = Readonly<Record<TemplatePart, string>>

const keyDigits = 24

/** 24 hexadecimal digits. */
export function templateKey(parts: TemplateParts): string {
  const named = templatePartNames.map((name) => [name, parts[name]])
  return createHash('sha256').update(JSON.stringify(named)).digest('hex').slice(0, keyDigits)
}

export function isTemplateKey(text: string): boolean {
  return new RegExp(`^[0-9a-f]{${keyDigits}}$`).test(text)
}

/** The parts in which two differ, in the order of `templatePartNames`. */
export function differingParts(one: TemplateParts, other: TemplateParts): readonly TemplatePart[] {
  return templatePartNames.filter((name) => one[name] !== other[name])
}

/** What the parts of a file on the host say; undefined: there is none in this VM. */
export function filePart(file: { path: string; inode: bigint; bytes: bigint; changedNs: bigint } | undefined): string {
  if (file === undefined) return 'none'
  assert(file.path.startsWith('/'), `file ${file.path} of a template`)
  return `${file.path} inode ${file.inode}, ${file.bytes} bytes, changed ${file.changedNs}`
}

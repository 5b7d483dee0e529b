// The initramfs: busybox, the modules that reach the disk, one script. It owns their order; the script is in guest/.
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type ArchiveEntry, writeArchive } from './cpio.ts'
import { earlyModules, ModuleIndex } from './modules.ts'

const applets = ['ifconfig', 'insmod', 'ln', 'mkdir', 'mount', 'sh', 'sleep', 'switch_root', 'umount', 'usleep']

/** `working` boots the image; the others fail in one way each, for the tests of what a user is told. */
export type InitramfsKind = 'working' | 'panics' | 'hangs'

const brokenScripts = {
  // The module first, so that the panic is reported to the hypervisor as well.
  panics: [
    '#!/bin/busybox sh',
    'for module in /modules/*; do insmod "$module"; done',
    'echo "vmrm image: this image panics on purpose"',
    'exit 1',
    '',
  ].join('\n'),
  hangs: [
    '#!/bin/busybox sh',
    'echo "vmrm image: this image hangs on purpose"',
    'while :; do sleep 3600; done',
    '',
  ].join('\n'),
} as const

/** An uncompressed archive: unpacking a compressed one would cost each boot more than reading the few MiB. */
export async function makeInitramfs(options: { root: string; release: string; kind: InitramfsKind }): Promise<Buffer> {
  const modules = join(options.root, 'usr/lib/modules', options.release)
  const index = new ModuleIndex(await readFile(join(modules, 'modules.dep'), 'utf8'), '')
  const wanted = options.kind === 'panics' ? [...earlyModules, 'pvpanic-mmio', 'pvpanic-pci'] : earlyModules
  const script =
    options.kind === 'working'
      ? await readFile(join(import.meta.dirname, 'guest/initramfs-init'))
      : Buffer.from(brokenScripts[options.kind])
  const entries: ArchiveEntry[] = ['bin', 'dev', 'modules', 'root'].map((path) => ({ kind: 'folder', path }))
  entries.push({ kind: 'device', path: 'dev/console', major: 5, minor: 1 })
  entries.push({ kind: 'device', path: 'dev/null', major: 1, minor: 3 })
  entries.push({ kind: 'file', path: 'init', content: script, mode: 0o755 })
  const busybox = await readFile(join(options.root, 'usr/bin/busybox'))
  entries.push({ kind: 'file', path: 'bin/busybox', content: busybox, mode: 0o755 })
  for (const name of applets) entries.push({ kind: 'link', path: `bin/${name}`, target: 'busybox' })
  for (const [number, path] of index.closure(wanted).entries()) {
    const name = `${String(number).padStart(2, '0')}-${basename(path)}`
    entries.push({ kind: 'file', path: `modules/${name}`, content: await readFile(join(modules, path)), mode: 0o644 })
  }
  return writeArchive(entries)
}

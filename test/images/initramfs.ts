// The initramfs: one static program and the modules that reach the disk. It owns their order.
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type ArchiveEntry, writeArchive } from './cpio.ts'
import { earlyModules, ModuleIndex } from './modules.ts'
import { runTool } from './tools.ts'

/** `working` boots the image; the others fail in one way each, for the tests of what a user is told. */
export type InitramfsKind = 'working' | 'panics' | 'hangs'

/** Compiles guest/early-init.c into `path`. */
export async function compileEarlyInit(path: string, signal: AbortSignal): Promise<void> {
  const flags = ['-std=c11', '-Wall', '-Wextra', '-Werror', '-Os', '-static', '-s']
  await runTool('gcc', [...flags, '-o', path, join(import.meta.dirname, 'guest/early-init.c')], { signal })
}

export interface InitramfsOptions {
  /** The image's root folder, for its modules. */
  readonly root: string
  /** The kernel's release. */
  readonly release: string
  readonly kind: InitramfsKind
  /** What `compileEarlyInit` made. */
  readonly init: string
}

/** An uncompressed archive: unpacking a compressed one would cost each boot more than reading 1 MiB. */
export async function makeInitramfs({ root, release, kind, init }: InitramfsOptions): Promise<Buffer> {
  const modules = join(root, 'usr/lib/modules', release)
  const index = new ModuleIndex(await readFile(join(modules, 'modules.dep'), 'utf8'), '')
  // With pvpanic the panic is reported to the hypervisor as well.
  const wanted = kind === 'panics' ? [...earlyModules, 'pvpanic-mmio', 'pvpanic-pci'] : earlyModules
  const entries: ArchiveEntry[] = ['dev', 'modules', 'root'].map((path) => ({ kind: 'folder', path }))
  entries.push({ kind: 'device', path: 'dev/console', major: 5, minor: 1 })
  entries.push({ kind: 'file', path: 'init', content: await readFile(init), mode: 0o755 })
  if (kind !== 'working') entries.push({ kind: 'file', path: kind, content: Buffer.alloc(0), mode: 0o644 })
  for (const [number, path] of index.closure(wanted).entries()) {
    const name = `${String(number).padStart(2, '0')}-${basename(path)}`
    entries.push({ kind: 'file', path: `modules/${name}`, content: await readFile(join(modules, path)), mode: 0o644 })
  }
  return writeArchive(entries)
}

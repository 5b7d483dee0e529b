// Writes the catalogue entries of the test images. It owns their values; lib/config/image-schema.ts owns the shape.
import type { z } from 'zod'
import { imageSchema } from '../../lib/config/image-schema.ts'
import { writeElement } from '../../lib/protocol/schema/map.ts'
import { elementShape } from '../../lib/protocol/schema/shape.ts'

type Entry = z.input<typeof imageSchema>

/**
 * What a fast boot under TCG needs; README.md has the figures. Without the tracing files (initcall_blacklist) loading
 * the NFS client takes half the time. tsc=unstable: on a loaded host the kernel's calibration of the TSC can be wrong by
 * a factor of 40, and timeouts in the guest with it; the ACPI timer needs none. panic=-1 with "no reboot" of QEMU or
 * libvirt ends a VM that panics; loglevel=4 shows warnings and errors. norandmaps: what QEMU 7.2 translated of a program
 * and its libraries counts for one address only, so with random ones each exec is translated anew.
 */
export const commandLine = [
  ...['console=ttyS0', 'panic=-1', 'loglevel=4', 'root=/dev/vda', 'rw', 'cryptomgr.notests=1', 'noreplace-smp'],
  ...['initcall_blacklist=init_kprobe_trace,tracer_init_tracefs', 'tsc=unstable', 'no_timer_check', 'mitigations=off'],
  ...['rcupdate.rcu_expedited=1', 'random.trust_cpu=on', 'memhp_default_state=online', 'norandmaps'],
].join(' ')

export interface EntryFiles {
  readonly name: string
  readonly revision: string
  readonly title: string
  /** Absolute paths. */
  readonly master: string
  readonly sha256: string
  readonly kernel: string
  readonly initrd: string
}

const shared = {
  version: '1',
  network: { kind: 'private', addresses: '10.77.0.0/16', mtu: 1450 },
  access: { policy: 'all' },
  limits: { minMemoryMib: 96, maxMemoryMib: 4096, maxCpus: 8, maxPerNode: 16 },
} as const

/** The entry of tiny or a variant; `timeoutSeconds` is generous, since test machines share their cores. */
export function tinyEntry(files: EntryFiles): Entry {
  const { name, revision, title, master, sha256, kernel, initrd } = files
  return {
    ...shared,
    os: { family: 'linux', agent: 'builtin' },
    name,
    revision,
    title,
    master: { path: master, format: 'qcow2', sha256 },
    boot: { kind: 'direct', kernel, initrd, commandLine, timeoutSeconds: name === 'tiny' ? 90 : 30 },
    hostnames: { range: `${name}-[0001-9999]` },
    mounts: { entries: [{ kind: 'export', path: '/home', target: '/home' }] },
    // What does not boot is there to show what a failed boot looks like; a template's would come first.
    ...(name === 'tiny' ? {} : { template: { use: 'never' } }),
  }
}

/**
 * The entry of the Debian with systemd. Its boot takes ten times tiny's, so the bound is far. What systemd says on the
 * console is what a failed boot is explained by, so no `quiet`. The overlay of a clean master needs no check of its disk.
 */
export function debianEntry(files: EntryFiles): Entry {
  const { name, revision, title, master, sha256, kernel, initrd } = files
  return {
    ...shared,
    os: { family: 'linux', agent: 'seed' },
    name,
    revision,
    title,
    master: { path: master, format: 'qcow2', sha256 },
    boot: { kind: 'direct', kernel, initrd, commandLine: `${commandLine} fsck.mode=skip`, timeoutSeconds: 200 },
    hostnames: { range: `${name}-[0001-9999]` },
    limits: { minMemoryMib: 384, maxMemoryMib: 8192, maxCpus: 8, maxPerNode: 8 },
    mounts: { entries: [{ kind: 'export', path: '/home', target: '/home' }] },
  }
}

/** One element a line, indented, since people read these. Text between `>` and `<` is always mark-up here. */
function indent(xml: string): string {
  let depth = 0
  const lines = xml.replaceAll('><', '>\n<').split('\n')
  return lines
    .map((line) => {
      if (line.startsWith('</')) depth--
      const text = '  '.repeat(depth) + line
      if (!line.startsWith('</') && !line.endsWith('/>') && !line.includes('</')) depth++
      return text
    })
    .join('\n')
}

/** The entry as an XML document, in the layout that the schema gives. */
export function renderEntry(entry: Entry): string {
  const value = imageSchema.parse(entry)
  const xml = writeElement({ name: 'image', shape: elementShape(imageSchema), value, where: 'image' })
  return `<?xml version="1.0" encoding="UTF-8"?>\n${indent(xml)}\n`
}

// Writes cpio archives of the `newc` kind, which Linux takes as an initramfs. Everything belongs to root; no file of
// the host is needed, so device nodes need no privilege.

export type ArchiveEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'file'; readonly path: string; readonly content: Buffer; readonly mode: number }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'device'; readonly path: string; readonly major: number; readonly minor: number }

const typeBits = { folder: 0o040755, file: 0o100000, link: 0o120777, device: 0o020600 } as const

function contentOf(entry: ArchiveEntry): Buffer {
  if (entry.kind === 'file') return entry.content
  return Buffer.from(entry.kind === 'link' ? entry.target : '')
}

const padding = (length: number): Buffer => Buffer.alloc((4 - (length % 4)) % 4)

function record(name: string, mode: number, inode: number, content: Buffer, device: readonly [number, number]): Buffer {
  const links = mode === 0 ? 1 : (mode & 0o170000) === 0o040000 ? 2 : 1
  const nameBytes = Buffer.from(`${name}\0`)
  const numbers = [inode, mode, 0, 0, links, 0, content.length, 0, 0, ...device, nameBytes.length, 0]
  const header = `070701${numbers.map((n) => n.toString(16).padStart(8, '0')).join('')}`
  const head = Buffer.concat([Buffer.from(header), nameBytes])
  return Buffer.concat([head, padding(head.length), content, padding(content.length)])
}

/** An archive of the entries, in their order: a folder must come before what is in it. Times are 0. */
export function writeArchive(entries: readonly ArchiveEntry[]): Buffer {
  const records = entries.map((entry, index) => {
    const mode = typeBits[entry.kind] | (entry.kind === 'file' ? entry.mode : 0)
    const device = entry.kind === 'device' ? ([entry.major, entry.minor] as const) : ([0, 0] as const)
    return record(entry.path, mode, index + 1, contentOf(entry), device)
  })
  return Buffer.concat([...records, record('TRAILER!!!', 0, 0, Buffer.alloc(0), [0, 0])])
}

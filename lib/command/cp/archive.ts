// Files and folders of this host as a tar archive. Links are followed, as cp and scp do; what cannot be read is told and left out.
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { blockBytes, paddingOf, writeHeader } from './tar-header.ts'

const chunkBytes = 262_144

export type Complain = (path: string, problem: string) => void

export interface Source {
  /** As the user wrote it. */
  readonly path: string
  /** What it is called in the archive. */
  readonly name: string
}

/** The archive's bytes, its end included. Folders only where `recursive`. */
export async function* archiveOf(
  sources: readonly Source[],
  options: { readonly recursive: boolean; readonly complain: Complain },
): AsyncGenerator<Buffer> {
  for (const { path, name } of sources) yield* entryOf(Buffer.from(path), Buffer.from(name), [], options)
  yield Buffer.alloc(2 * blockBytes)
}

async function* entryOf(
  path: Buffer,
  name: Buffer,
  above: readonly string[],
  options: { readonly recursive: boolean; readonly complain: Complain },
): AsyncGenerator<Buffer> {
  const { recursive, complain } = options
  try {
    const status = await stat(path)
    const common = { mode: status.mode & 0o7777, mtime: status.mtimeMs / 1000 }
    if (status.isFile()) {
      const file = await open(path, 'r')
      try {
        yield writeHeader({ ...common, name, size: status.size, type: '0' })
        yield* contentOf(file, status.size, () => complain(String(path), 'became shorter while it was read'))
      } finally {
        await file.close()
      }
    } else if (!status.isDirectory()) complain(String(path), 'not a regular file')
    else if (!recursive) complain(String(path), 'is a directory (not copied without -r)')
    else {
      const id = `${status.dev}:${status.ino}`
      if (above.includes(id)) return complain(String(path), 'a symbolic link leads back to a folder above it')
      const names = await readdir(path, { encoding: 'buffer' })
      yield writeHeader({ ...common, name: Buffer.concat([name, Buffer.from('/')]), size: 0, type: '5' })
      const inside = (folder: Buffer, child: Buffer) => Buffer.concat([folder, Buffer.from('/'), child])
      for (const child of names) yield* entryOf(inside(path, child), inside(name, child), [...above, id], options)
    }
  } catch (error) {
    complain(String(path), wordsOf(error))
  }
}

/** Exactly as many bytes as the header has told, whatever became of the file. */
async function* contentOf(file: FileHandle, size: number, onShort: () => void): AsyncGenerator<Buffer> {
  let left = size
  while (left > 0) {
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(chunkBytes, left)))
    if (bytesRead === 0) break
    left -= bytesRead
    yield buffer.subarray(0, bytesRead)
  }
  if (left > 0) onShort()
  for (; left > 0; left -= Math.min(chunkBytes, left)) yield Buffer.alloc(Math.min(chunkBytes, left))
  yield Buffer.alloc(paddingOf(size))
}

const words: Readonly<Record<string, string>> = {
  ENOENT: 'No such file or directory',
  EACCES: 'Permission denied',
  EPERM: 'Operation not permitted',
  ENOTDIR: 'Not a directory',
  EISDIR: 'Is a directory',
  EEXIST: 'File exists',
  ELOOP: 'Too many levels of symbolic links',
  ENOSPC: 'No space left on device',
  EROFS: 'Read-only file system',
  EDQUOT: 'Disk quota exceeded',
}

/** A failed call's cause, as other commands word it. */
export function wordsOf(error: unknown): string {
  const { code = '', message } = error as NodeJS.ErrnoException
  return words[code] ?? message
}

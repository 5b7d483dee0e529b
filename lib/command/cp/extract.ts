// A tar archive that a guest sends, as files of this host. The guest is not believed: nothing is written outside the
// destination, no link is made, and no file gets more than permission bits.
import { chmod, copyFile, mkdir, open, stat, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { type Complain, wordsOf } from './archive.ts'
import { blockBytes, type Header, notTar, paddingOf, readHeader, untilNul } from './tar-header.ts'

export interface Destination {
  readonly path: string
  /** `inside`: a folder that takes the copies; `as`: the one copy's own path. */
  readonly how: 'inside' | 'as'
  /** First parts of names that were asked for; `.`: a folder's contents. */
  readonly names: readonly string[]
}

const longestName = 65_536
type Bytes = AsyncIterator<Uint8Array>

/** Takes any number of archives one after the other. Throws `peer-error` for what is no archive or was not asked for. */
export async function extract(stream: AsyncIterable<Uint8Array>, to: Destination, complain: Complain): Promise<void> {
  const reader = createReader(stream[Symbol.asyncIterator]())
  const folders: { path: string; header: Header }[] = []
  let longName: Buffer | undefined
  for (;;) {
    const block = await reader.take(blockBytes, 'may end')
    if (block === undefined) break
    const header = readHeader(block)
    if (header === undefined) continue
    if (header.type === 'L' || header.type === 'K' || header.type === 'x' || header.type === 'g') {
      if (header.size > longestName) throw notTar('a name is too long')
      const text = (await reader.take(header.size + paddingOf(header.size))) as Buffer
      if (header.type === 'L') longName = Buffer.from(untilNul(text.subarray(0, header.size)))
      else if (header.type !== 'g') throw notTar(`it has an entry of type ${header.type}`)
      continue
    }
    const entry = longName === undefined ? header : { ...header, name: longName }
    longName = undefined
    const path = localPath(entry.name, to)
    const content = entry.type === '0' || entry.type === '7' ? entry.size : 0
    if (entry.type === '5') await attempt(path, complain, () => mkdirOnce(path))
    if (entry.type === '5') folders.push({ path, header: entry })
    else if (entry.type === '1') {
      const earlier = localPath(entry.linkName, to)
      await attempt(path, complain, () => copyFile(earlier, path))
    } else if (entry.type === '0' || entry.type === '7') await writeFile(path, entry, reader, complain)
    else complain(path, 'not a regular file')
    await reader.take(content > 0 ? paddingOf(content) : 0)
  }
  // Afterwards: a folder may forbid writing, and what is written changes its time.
  for (const { path, header } of folders.reverse()) await attempt(path, complain, () => finish(path, header))
}

/** Throws for a name that leads elsewhere. */
function localPath(name: Buffer, to: Destination): string {
  const text = name.toString('utf8')
  const parts = text.split('/').filter((part) => part !== '' && part !== '.')
  const [top = '.', ...rest] = parts
  const isContents = to.names.includes('.')
  if (parts.includes('..') || text.includes('\0') || !(isContents || to.names.includes(top)))
    throw notTar(`it has ${JSON.stringify(text.slice(0, 200))}, which was not asked for`)
  if (to.how === 'as') return isContents ? join(to.path, ...parts) : join(to.path, ...rest)
  return join(to.path, ...parts)
}

async function mkdirOnce(path: string): Promise<void> {
  await mkdir(path, { mode: 0o700 }).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST' || !(await stat(path)).isDirectory()) throw error
  })
}

async function writeFile(path: string, entry: Header, reader: Reader, complain: Complain): Promise<void> {
  const file = await open(path, 'w', 0o600).catch((error: unknown) => {
    complain(path, wordsOf(error))
    return undefined
  })
  let failed = file === undefined
  try {
    for (let left = entry.size; left > 0; ) {
      const part = await reader.some(left)
      left -= part.length
      if (!failed) failed = !(await attempt(path, complain, () => file?.writeFile(part) ?? Promise.resolve()))
    }
  } finally {
    await file?.close()
  }
  if (!failed) await attempt(path, complain, () => finish(path, entry))
}

async function finish(path: string, { mode, mtime }: Header): Promise<void> {
  await chmod(path, mode)
  await utimes(path, mtime, mtime)
}

async function attempt(path: string, complain: Complain, work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    complain(path, wordsOf(error))
    return false
  }
}

interface Reader {
  /** Exactly so many bytes. */
  take(count: number, atEnd?: 'may end'): Promise<Buffer | undefined>
  /** At least one byte, at most so many. */
  some(most: number): Promise<Buffer>
}

function createReader(bytes: Bytes): Reader {
  let held = Buffer.alloc(0)
  const more = async () => {
    const next = await bytes.next()
    if (next.done === true) return false
    held = held.length === 0 ? Buffer.from(next.value) : Buffer.concat([held, next.value])
    return true
  }
  const cut = (count: number) => {
    const part = held.subarray(0, count)
    held = held.subarray(count)
    return part
  }
  return {
    async take(count, atEnd) {
      while (held.length < count) {
        if (await more()) continue
        if (held.length === 0 && atEnd === 'may end') return undefined
        throw notTar('it ends too early')
      }
      return cut(count)
    },
    async some(most) {
      while (held.length === 0) if (!(await more())) throw notTar('it ends too early')
      return cut(most)
    },
  }
}

// The console logs of a node's VMs: capped, and read by an offset that goes on counting when a log is cut. How much was cut is
// kept in a file of the run, so that a restart of the daemon changes no offset.
import { readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Log } from '../../log.ts'
import { capConsole, readConsole } from '../../vm/console.ts'
import { allOrFirstError } from '../all-or-first-error.ts'

export interface Consoles {
  /** Cuts the logs that are larger than they may be, and forgets those that are not among these. */
  cap(paths: readonly string[]): Promise<void>
  read(
    path: string,
    offset: number,
  ): Promise<{ readonly offset: number; readonly end: number; readonly data: Uint8Array }>
}

export function createConsoles(options: { maxBytes: number; partBytes: number; log: Log }): Consoles {
  const { maxBytes, partBytes, log } = options
  const counts = new Map<string, number>()
  let queue: Promise<unknown> = Promise.resolve()
  // One at a time: a log that is being cut is empty for a moment.
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work)
    // Whoever asked for the work hears of its failure; the next one's turn comes all the same.
    queue = result.catch(() => {})
    return result
  }
  const droppedOf = async (path: string): Promise<number> => {
    const count = counts.get(path) ?? (await readCount(path))
    counts.set(path, count)
    return count
  }
  // On a full disk the log must be cut all the same.
  const keepCount = (path: string, count: number): Promise<void> =>
    writeCount(path, count).catch((error: Error) => log.warn('console.uncounted', { path, error: error.message }))
  const capOne = async (path: string): Promise<void> => {
    const before = await droppedOf(path)
    // Until the right one is known the count is too large: then a reader learns of a gap, and misses nothing silently.
    const gone = await capConsole(path, maxBytes, (size) => keepCount(path, before + size))
    if (gone === 0) return
    counts.set(path, before + gone)
    await keepCount(path, before + gone)
  }
  return {
    cap: (paths) =>
      inTurn(async () => {
        await allOrFirstError(paths.map(capOne))
        for (const path of counts.keys()) if (!paths.includes(path)) counts.delete(path)
      }),
    read: (path, offset) =>
      inTurn(async () => {
        const before = await droppedOf(path)
        const { position, size, data } = await readConsole(path, offset - before, partBytes)
        return { offset: before + position, end: before + size, data }
      }),
  }
}

/** Beside the VM's folder, not in it: that is its QEMU's. */
const countFile = (path: string): string => `${dirname(path)}.cut`

async function readCount(path: string): Promise<number> {
  const text = await readFile(countFile(path), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '0'
    throw error
  })
  const count = Number(text)
  return Number.isSafeInteger(count) && count >= 0 ? count : 0
}

/** Whole or as it was, but not synced: VMs do not outlive a crash of the machine. */
async function writeCount(path: string, count: number): Promise<void> {
  const file = countFile(path)
  await writeFile(`${file}.new`, String(count), { mode: 0o600 })
  await rename(`${file}.new`, file)
}

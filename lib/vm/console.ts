// A VM's console log: its last lines for messages, and its size. A guest writes what it likes into it, so it is hostile text.
import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences begin with one
const controlSequence = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])/g
const controlCharacter = /[^\P{C}\n]/gu

export interface ConsoleTailOptions {
  /** Default 20. */
  readonly maxLines?: number
  /** How much of the file's end is read; default 8,192. */
  readonly maxBytes?: number
}

/** What a kernel says first when it gives up; a trace of many lines comes after it. */
const complaint = /\b(?:Kernel panic|Oops|BUG:|Out of memory|BUGCODE)/

/**
 * The last lines that hold something, without terminal control sequences and characters that do not print (direction
 * marks included); each at most 200 characters. A kernel's complaint comes first where it lies above them. Empty when
 * there is no file.
 */
export async function consoleTail(path: string, options: ConsoleTailOptions = {}): Promise<string> {
  const { maxLines = 20, maxBytes = 8_192 } = options
  const file = await openConsole(path, 'r')
  if (file === undefined) return ''
  try {
    const { size } = await file.stat()
    const start = Math.max(0, size - maxBytes)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, start)
    return readable(buffer.toString('utf8', 0, bytesRead), maxLines)
  } finally {
    await file.close()
  }
}

/** Text that is safe to print. A line end is LF, CR or both: what a terminal would have overwritten stays. */
export function printableConsole(text: string): string {
  return text
    .replace(controlSequence, '')
    .replace(/\r+\n?/g, '\n')
    .replaceAll('\t', ' ')
    .replace(controlCharacter, '')
}

function readable(text: string, maxLines: number): string {
  const lines = printableConsole(text)
    .split('\n')
    .map((line) => line.trimEnd().slice(0, 200))
    .filter((line) => line !== '')
  const last = lines.slice(-maxLines)
  const first = lines.slice(0, -maxLines).findLast((line) => complaint.test(line))
  return (first === undefined ? last : [first, '[...]', ...last.slice(2)]).join('\n')
}

/**
 * Keeps a console log from filling the disk: one that is larger than `maxBytes` is emptied but for its last quarter of
 * that. QEMU has it open to append (domain-xml.ts), so it goes on at the new end; what it writes in the instant between
 * reading and cutting is lost. To be called now and then, as often as `maxBytes` can be written. `willCut` is called with the
 * size before anything is gone. Returns how many bytes are gone from its beginning.
 */
export async function capConsole(
  path: string,
  maxBytes: number,
  willCut?: (size: number) => Promise<void>,
): Promise<number> {
  const file = await openConsole(path, 'r+')
  if (file === undefined) return 0
  try {
    const { size } = await file.stat()
    if (size <= maxBytes) return 0
    await willCut?.(size)
    const kept = Buffer.alloc(Math.floor(maxBytes / 4))
    const { bytesRead } = await file.read(kept, 0, kept.length, size - kept.length)
    await file.truncate(0)
    // Appended like QEMU's own bytes: at a fixed place it would overwrite what QEMU has written since.
    const appending = await openConsole(path, 'a')
    await appending?.write(kept, 0, bytesRead)
    await appending?.close()
    return size - bytesRead
  } finally {
    await file.close()
  }
}

/** At most `maxBytes` from `position` on; from the beginning where the log ends before that. Nothing where there is no log. */
export async function readConsole(
  path: string,
  position: number,
  maxBytes: number,
): Promise<{ readonly position: number; readonly size: number; readonly data: Uint8Array }> {
  const file = await openConsole(path, 'r')
  if (file === undefined) return { position: 0, size: 0, data: new Uint8Array() }
  try {
    const { size } = await file.stat()
    const from = position < 0 || position > size ? 0 : position
    const { buffer, bytesRead } = await file.read(Buffer.alloc(maxBytes), 0, maxBytes, from)
    return {
      position: from,
      size: Math.max(size, from + bytesRead),
      data: new Uint8Array(buffer.subarray(0, bytesRead)),
    }
  } finally {
    await file.close()
  }
}

/** Undefined where there is none. `a` and `r+` never make one: a log that was removed stays so. */
async function openConsole(path: string, mode: 'r' | 'r+' | 'a') {
  const { O_RDONLY, O_RDWR, O_WRONLY, O_APPEND, O_NOFOLLOW } = constants
  const flags = { r: O_RDONLY, 'r+': O_RDWR, a: O_WRONLY | O_APPEND }[mode]
  try {
    return await open(path, flags | O_NOFOLLOW)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

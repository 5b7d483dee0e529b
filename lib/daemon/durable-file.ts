// Files that are whole on disk or not there: write, fsync, rename, fsync of the folder.
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'

/** Whether a file system refused something for lack of room or quota. */
export function isDiskFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException | undefined)?.code ?? '')
}

/** Replaces `path`; when this returns, the content survives a crash of the machine. Two writers must not share a path. */
export async function writeDurably(path: string, content: string, mode = 0o600): Promise<void> {
  const temporary = `${path}.new`
  const file = await open(temporary, 'w', mode)
  try {
    await file.writeFile(content)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, path)
  await syncPath(dirname(path))
}

/** Makes a folder (and its parents) that survives a crash of the machine. */
export async function makeFolderDurably(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true, mode })
  await syncPath(dirname(path))
}

/** Removes a folder with all that is in it; it is fine if there is none. */
export async function removeFolderDurably(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true })
  await syncPath(dirname(path))
}

/** Returns when the content of a file, or the names in a folder, survive a crash of the machine. */
export async function syncPath(path: string): Promise<void> {
  const opened = await open(path, 'r')
  try {
    await opened.sync()
  } finally {
    await opened.close()
  }
}

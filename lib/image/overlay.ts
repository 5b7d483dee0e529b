// A VM's own disk: an empty qcow2 file on top of a master. It owns the file format; it never opens a master for writing.
import { type FileHandle, open, rm } from 'node:fs/promises'
import { isAbsolute } from 'node:path'
import { VmrmError } from '../errors/vmrm-error.ts'
import { type DiskFormat, renderQcow2Header } from './qcow2.ts'

export interface OverlayOptions {
  /** Absolute; must not exist. */
  readonly path: string
  /** The master, absolute (so that no colon in it is taken for a protocol); recorded with its format, so nothing probes it. */
  readonly backingPath: string
  readonly backingFormat: DiskFormat
  /** A multiple of 512; may be larger than the master, then the rest reads as zeros. */
  readonly virtualSizeBytes: number
  /** Who may write it: the uid and gid of the run's QEMU. Without it the file stays the caller's. */
  readonly owner?: { readonly uid: number; readonly gid: number }
}

/**
 * Makes an empty overlay (mode 0600) and returns when it is on the disk.
 * Fails with `node-disk-full` for a lack of space or quota and with `node-fault` for anything else the file system
 * refuses, a path that exists included; what it had begun is removed.
 */
export async function createOverlay(options: OverlayOptions): Promise<void> {
  if (!isAbsolute(options.path) || !isAbsolute(options.backingPath)) {
    throw new VmrmError('internal', `An overlay needs absolute paths, not ${options.path} over ${options.backingPath}.`)
  }
  const { pieces, lengthBytes } = renderQcow2Header(options)
  let file: FileHandle
  try {
    file = await open(options.path, 'wx', 0o600)
  } catch (cause) {
    throw overlayError(options.path, cause)
  }
  try {
    for (const { bytes, offset } of pieces) await file.write(bytes, 0, bytes.length, offset)
    await file.truncate(lengthBytes)
    if (options.owner !== undefined) await file.chown(options.owner.uid, options.owner.gid)
    await file.sync()
    await file.close()
  } catch (cause) {
    await file.close().catch(() => {}) // the first failure is the one to tell
    await rm(options.path, { force: true })
    throw overlayError(options.path, cause)
  }
}

function overlayError(path: string, cause: unknown): VmrmError {
  const code = (cause as NodeJS.ErrnoException).code
  const text = cause instanceof Error ? cause.message : String(cause)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new VmrmError('node-disk-full', `No room for the disk of a VM at ${path}: ${text}`, { cause })
  }
  return new VmrmError('node-fault', `Cannot make the disk of a VM at ${path}: ${text}`, { cause })
}

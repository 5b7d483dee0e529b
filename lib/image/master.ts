// What is read of a master image's file. It never writes to it and never guesses its format.
import { open } from 'node:fs/promises'
import { VmrmError } from '../errors/vmrm-error.ts'
import { type DiskFormat, parseQcow2Header, qcow2HeaderBytes } from './qcow2.ts'

/**
 * The virtual size of a master in bytes, a multiple of 512 (QEMU rounds up too).
 * Fails with `config-invalid` for a file that cannot be read, is not of the stated format, has a backing or an external
 * data file, is encrypted, or is marked dirty or corrupt.
 */
export async function readImageSize(path: string, format: DiskFormat): Promise<number> {
  const refuse = (why: string, cause?: unknown): never => {
    throw new VmrmError('config-invalid', `The master ${path} (stated format ${format}) cannot be used: ${why}.`, {
      cause,
    })
  }
  const file = await open(path, 'r').catch((cause: unknown) =>
    refuse(cause instanceof Error ? cause.message : String(cause), cause),
  )
  try {
    const status = await file.stat()
    if (!status.isFile()) return refuse('it is not a regular file')
    if (format === 'raw') {
      return status.size === 0 ? refuse('it is empty') : Math.ceil(status.size / 512) * 512
    }
    const bytes = Buffer.alloc(qcow2HeaderBytes)
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0)
    const header = parseQcow2Header(bytes.subarray(0, bytesRead))
    if (header.kind === 'refused') return refuse(header.why)
    return Math.ceil(header.virtualSizeBytes / 512) * 512
  } finally {
    await file.close()
  }
}

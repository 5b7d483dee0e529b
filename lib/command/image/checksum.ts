// The SHA-256 of a master, which may be large: read in pieces, with a word on how far it is.
import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'

const pieceBytes = 4 * 1024 * 1024

export interface ChecksumOptions {
  /** Told after each whole percent; `percent` is 0 to 100. */
  readonly onProgress?: (percent: number) => void
  readonly signal?: AbortSignal
}

/** 64 hexadecimal digits. Rejects with the file's error, or the signal's reason. */
export async function sha256OfFile(path: string, options: ChecksumOptions = {}): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    const piece = Buffer.alloc(pieceBytes)
    let done = 0
    let told = -1
    for (;;) {
      options.signal?.throwIfAborted()
      const { bytesRead } = await file.read(piece, 0, piece.length)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(piece.subarray(0, bytesRead))
      done += bytesRead
      const percent = size === 0 ? 100 : Math.min(100, Math.floor((done * 100) / size))
      if (percent !== told) options.onProgress?.(percent)
      told = percent
    }
  } finally {
    await file.close()
  }
}

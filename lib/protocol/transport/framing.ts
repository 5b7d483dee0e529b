// Frames: a length (u32, big endian), then that many bytes. It owns the limit on a frame, never its meaning.
import { invalid } from '../invalid.ts'
import { frameLimitBytes } from '../limits.ts'

const lengthBytes = 4

/** The length of `bytes` in front of it, as one buffer. Throws `message-invalid` for what no receiver would take. */
export function toFrame(bytes: Uint8Array): Buffer {
  if (bytes.length > frameLimitBytes) {
    throw invalid('the frame', `${bytes.length} bytes are more than the limit of ${frameLimitBytes}`)
  }
  const frame = Buffer.allocUnsafe(lengthBytes + bytes.length)
  frame.writeUInt32BE(bytes.length, 0)
  frame.set(bytes, lengthBytes)
  return frame
}

/** Puts frames together from whatever pieces a socket gives. Holds at most one incomplete frame. */
export class FrameReader {
  #pieces: Uint8Array[] = []
  #held = 0
  #needed = lengthBytes
  #inBody = false

  /** Whether a frame has begun and is not complete. */
  get isPartial(): boolean {
    return this.#inBody || this.#held > 0
  }

  /** The frames that `chunk` completes. Throws `message-invalid` for an empty or oversized frame: the stream is over. */
  push(chunk: Uint8Array): Buffer[] {
    this.#pieces.push(chunk)
    this.#held += chunk.length
    if (this.#held < this.#needed) return []
    const frames: Buffer[] = []
    let rest: Buffer = Buffer.concat(this.#pieces)
    while (rest.length >= this.#needed) {
      const part = rest.subarray(0, this.#needed)
      rest = rest.subarray(this.#needed)
      if (this.#inBody) frames.push(part)
      this.#needed = this.#inBody ? lengthBytes : bodyLength(part)
      this.#inBody = !this.#inBody
    }
    this.#pieces = [rest]
    this.#held = rest.length
    return frames
  }
}

function bodyLength(prefix: Buffer): number {
  const length = prefix.readUInt32BE(0)
  if (length === 0 || length > frameLimitBytes) throw invalid('the frame', `its length is ${length}`)
  return length
}

// XDR (RFC 4506) reading and writing: bytes in, values out. It never trusts a length it has read, and knows nothing of libvirt.

/** Bytes that are not the XDR they should be, or a value that XDR or its limit cannot carry. */
export class XdrError extends Error {
  override readonly name = 'XdrError'
}

const paddedLength = (length: number): number => (length + 3) & ~3

/** Collects XDR values; `finish` gives the bytes. Throws XdrError for a value outside its type's range. */
export class XdrWriter {
  readonly #chunks: Buffer[] = []

  int(value: number): void {
    if (!Number.isInteger(value) || value < -0x80000000 || value > 0x7fffffff) throw new XdrError(`${value} is no int`)
    const chunk = Buffer.alloc(4)
    chunk.writeInt32BE(value)
    this.#chunks.push(chunk)
  }

  uint(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new XdrError(`${value} is no unsigned int`)
    const chunk = Buffer.alloc(4)
    chunk.writeUInt32BE(value)
    this.#chunks.push(chunk)
  }

  uhyper(value: bigint): void {
    if (value < 0n || value > 0xffffffffffffffffn) throw new XdrError(`${value} is no unsigned hyper`)
    const chunk = Buffer.alloc(8)
    chunk.writeBigUInt64BE(value)
    this.#chunks.push(chunk)
  }

  /** Exactly these bytes, padded with zeros to a multiple of four; the reader must know the length. */
  fixedOpaque(bytes: Uint8Array): void {
    const chunk = Buffer.alloc(paddedLength(bytes.length))
    chunk.set(bytes)
    this.#chunks.push(chunk)
  }

  /** A length and that many bytes, at most `maxLength`. */
  opaque(bytes: Uint8Array, maxLength: number): void {
    if (bytes.length > maxLength) throw new XdrError(`${bytes.length} bytes where at most ${maxLength} may stand`)
    this.uint(bytes.length)
    this.fixedOpaque(bytes)
  }

  finish(): Buffer {
    return Buffer.concat(this.#chunks)
  }
}

/** Takes XDR values off the front of some bytes. Throws XdrError where they end early or break a limit. */
export class XdrReader {
  readonly #bytes: Buffer
  #offset = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#offset
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#take(4))
  }

  uint(): number {
    return this.#bytes.readUInt32BE(this.#take(4))
  }

  uhyper(): bigint {
    return this.#bytes.readBigUInt64BE(this.#take(8))
  }

  /** A copy of `length` bytes; the padding must be zeros (RFC 4506, 3.9). */
  fixedOpaque(length: number): Buffer {
    const start = this.#take(paddedLength(length))
    if (this.#bytes.subarray(start + length, this.#offset).some((byte) => byte !== 0))
      throw new XdrError('padding that is not zero')
    return Buffer.from(this.#bytes.subarray(start, start + length))
  }

  opaque(maxLength: number): Buffer {
    return this.fixedOpaque(this.length(maxLength))
  }

  /** The element or byte count in front of something variable. */
  length(maxLength: number): number {
    const length = this.uint()
    if (length > maxLength) throw new XdrError(`a length of ${length} where at most ${maxLength} may stand`)
    return length
  }

  /** Must be called last: bytes left over mean that both ends disagree about the type. */
  finish(): void {
    if (this.remaining !== 0) throw new XdrError(`${this.remaining} bytes left over`)
  }

  #take(length: number): number {
    if (length > this.remaining) throw new XdrError(`${this.remaining} bytes left where ${length} are needed`)
    const start = this.#offset
    this.#offset += length
    return start
  }
}

// Packets: the header in front of every payload, and cutting the byte stream into packets. It never looks into a payload.
import { headerBytes, lengthBytes, maxPacketBytes } from './protocol.ts'
import { XdrError, XdrReader, XdrWriter } from './xdr.ts'
import { int, struct, uint, type XdrValue } from './xdr-type.ts'

const header = struct({ program: uint, version: uint, procedure: int, type: uint, serial: uint, status: uint })
export type PacketHeader = XdrValue<typeof header>

export interface Packet {
  readonly header: PacketHeader
  readonly payload: Buffer
}

/** The bytes of a packet. Throws XdrError where it would be longer than the protocol allows. */
export function encodePacket(packet: Packet): Buffer {
  const length = lengthBytes + headerBytes + packet.payload.length
  if (length > maxPacketBytes) throw new XdrError(`a packet of ${length} bytes, at most ${maxPacketBytes} are allowed`)
  const writer = new XdrWriter()
  writer.uint(length)
  header.write(writer, packet.header)
  return Buffer.concat([writer.finish(), packet.payload], length)
}

const smallestCapacity = 64 * 1024

/**
 * Cuts a byte stream into packets, however the bytes are split. Memory grows with the bytes that have arrived, at most to the
 * limit; a length beyond it, or below a header's, throws XdrError, after which the stream is of no use.
 */
export class PacketSplitter {
  readonly #maxBytes: number
  #buffer = Buffer.allocUnsafe(0)
  #filled = 0

  constructor(maxBytes: number = maxPacketBytes) {
    this.#maxBytes = maxBytes
  }

  /** The packets that `chunk` completes, in order. */
  push(chunk: Buffer): Packet[] {
    this.#append(chunk)
    const packets: Packet[] = []
    let start = 0
    for (;;) {
      const length = this.#lengthAt(start)
      if (length === undefined || this.#filled - start < length) break
      packets.push(this.#packetAt(start, length))
      start += length
    }
    this.#discard(start)
    return packets
  }

  #lengthAt(start: number): number | undefined {
    if (this.#filled - start < lengthBytes) return undefined
    const length = this.#buffer.readUInt32BE(start)
    if (length < lengthBytes + headerBytes || length > this.#maxBytes)
      throw new XdrError(`a packet that claims ${length} bytes, at most ${this.#maxBytes} are allowed`)
    return length
  }

  #packetAt(start: number, length: number): Packet {
    const headerStart = start + lengthBytes
    const payloadStart = headerStart + headerBytes
    const reader = new XdrReader(this.#buffer.subarray(headerStart, payloadStart))
    // A copy, since the buffer is used again.
    return { header: header.read(reader), payload: Buffer.from(this.#buffer.subarray(payloadStart, start + length)) }
  }

  #append(chunk: Buffer): void {
    const needed = this.#filled + chunk.length
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2, smallestCapacity))
      this.#buffer.copy(grown, 0, 0, this.#filled)
      this.#buffer = grown
    }
    chunk.copy(this.#buffer, this.#filled)
    this.#filled = needed
  }

  #discard(start: number): void {
    this.#buffer.copyWithin(0, start, this.#filled)
    this.#filled -= start
    if (this.#filled === 0 && this.#buffer.length > smallestCapacity) this.#buffer = Buffer.allocUnsafe(0)
  }
}

// The fake's way out to one client, and how it misbehaves there. It never knows what the bytes mean.
import type net from 'node:net'
import { encodePacket, type Packet } from '../../../lib/libvirt/packet.ts'
import { lengthBytes } from '../../../lib/libvirt/protocol.ts'

/** `whole` packets, or one byte at a time, each in a turn of the event loop of its own. */
export type Splitting = 'whole' | 'bytes'

/**
 * What happens to the next packet: half of it and then the connection ends (`cut`); a length that is too large or too small; a
 * serial nobody used; a procedure or status that does not fit; a payload one word too long or too short; or it is of a stream.
 */
export type Fault =
  | 'cut'
  | 'oversized'
  | 'undersized'
  | 'wrong-serial'
  | 'wrong-procedure'
  | 'wrong-status'
  | 'long-payload'
  | 'short-payload'
  | 'stream'

export class FakeWire {
  splitting: Splitting = 'whole'
  nextFault: Fault | undefined
  readonly #socket: net.Socket
  #tail: Promise<void> = Promise.resolve()

  constructor(socket: net.Socket) {
    this.#socket = socket
  }

  send(packet: Packet): void {
    const fault = this.nextFault
    this.nextFault = undefined
    const bytes = spoil(packet, fault)
    this.#tail = this.#tail
      .then(() => this.#write(bytes))
      .then(() => {
        if (fault === 'cut') this.#socket.destroy()
      })
  }

  /** Ends the connection after what has been sent. */
  end(): void {
    this.#tail = this.#tail.then(() => {
      this.#socket.end()
    })
  }

  async #write(bytes: Buffer): Promise<void> {
    const step = this.splitting === 'whole' ? bytes.length : 1
    for (let start = 0; start < bytes.length; start += step) {
      if (this.#socket.destroyed) return
      const written = Promise.withResolvers<void>()
      this.#socket.write(bytes.subarray(start, start + step), () => written.resolve())
      await written.promise
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
}

function spoil(packet: Packet, fault: Fault | undefined): Buffer {
  const { header, payload } = packet
  const bytes = encodePacket(packet)
  switch (fault) {
    case undefined:
      return bytes
    case 'cut':
      return bytes.subarray(0, Math.ceil(bytes.length / 2))
    case 'oversized':
      bytes.writeUInt32BE(0x7fffffff)
      return bytes
    case 'undersized':
      bytes.writeUInt32BE(lengthBytes)
      return bytes
    case 'wrong-serial':
      return encodePacket({ header: { ...header, serial: 0xfffffff0 }, payload })
    case 'wrong-procedure':
      return encodePacket({ header: { ...header, procedure: header.procedure + 1 }, payload })
    case 'wrong-status':
      return encodePacket({ header: { ...header, status: 2 }, payload })
    case 'long-payload':
      return encodePacket({ header, payload: Buffer.concat([payload, Buffer.alloc(4)]) })
    case 'short-payload':
      return encodePacket({ header, payload: payload.subarray(0, -4) })
    case 'stream':
      return encodePacket({ header: { ...header, type: 3 }, payload })
    default:
      fault satisfies never
      throw new Error(`no such fault: ${fault}`)
  }
}

// The socket of one VM's virtio-serial port: whole frames out of its bytes, no faster than a guest may make us read, and frames into it.
// It knows no frame's meaning, and what a guest has broken it leaves to its owner.
import { randomBytes } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Frame } from '../frame/frame.ts'
import { FrameBudget } from '../frame/frame-budget.ts'
import { type FrameFault, FrameReader } from '../frame/frame-reader.ts'

export interface GuestPortEvents {
  /** Bytes came; their frames follow. */
  heard(): void
  frame(frame: Frame): void
  fault(fault: FrameFault): void
  /** All frames of one read were handed on. */
  batchEnd(): void
  drain(): void
  error(error: Error): void
  /** The other end has closed it. */
  closed(): void
}

export class GuestPort {
  readonly #events: GuestPortEvents
  readonly #reader: FrameReader
  readonly #budget: FrameBudget
  #socket: Socket | undefined

  constructor(options: { framesPerSecond: number; events: GuestPortEvents }) {
    const { framesPerSecond, events } = options
    this.#events = events
    this.#budget = new FrameBudget({ framesPerSecond, resume: () => this.#socket?.resume() })
    this.#reader = new FrameReader({
      frame: (frame) => {
        if (this.#budget.spend() === 'exhausted') this.#socket?.pause()
        events.frame(frame)
      },
      fault: (fault) => events.fault(fault),
    })
  }

  get isOpen(): boolean {
    return this.#socket !== undefined
  }

  /** True while what can wait should wait. */
  get isFull(): boolean {
    return this.#socket?.writableNeedDrain !== false
  }

  /** Takes a connected socket; one from before must be closed. */
  adopt(socket: Socket): void {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(socket, chunk))
    socket.on('drain', () => this.#events.drain())
    socket.on('error', (error) => this.#events.error(error))
    socket.on('close', () => {
      if (this.#socket === socket) this.#events.closed()
    })
  }

  /** Drops everything until a HELLO_ACK that contains `nonce`. */
  hunt(nonce: Buffer): void {
    this.#reader.hunt(nonce)
  }

  /** 'full': what can wait should wait for `drain`. Dropped where nothing is open. */
  write(raw: Buffer): 'fine' | 'full' {
    return this.#socket?.write(raw) === true ? 'fine' : 'full'
  }

  /** No event follows. */
  close(): void {
    const socket = this.#socket
    this.#socket = undefined
    this.#budget.stop()
    // What is left of the chunk that is being read is nobody's.
    this.#reader.hunt(randomBytes(16))
    socket?.destroy()
  }

  #read(socket: Socket, chunk: Buffer): void {
    if (this.#socket !== socket) return
    this.#events.heard()
    this.#reader.push(chunk)
    this.#events.batchEnd()
  }
}

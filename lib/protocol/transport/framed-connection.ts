// A socket that carries frames, with its bounds on time and memory. It knows nothing of messages or callers.
import type { Socket } from 'node:net'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { FrameReader, toFrame } from './framing.ts'

export interface FramedConnectionOptions {
  readonly socket: Socket
  /** A frame that has begun must be complete within this. */
  readonly readTimeoutMs: number
  /** Without a frame in or out for this long, and when isBusy() says no, the connection is closed. */
  readonly idleTimeoutMs: number
  readonly isBusy: () => boolean
  readonly onFrames: (frames: Buffer[]) => void
  readonly onDrain?: () => void
  /** Called once; the reason is undefined where the other side simply closed. */
  readonly onClose: (reason: Error | undefined) => void
}

export class FramedConnection {
  readonly #options: FramedConnectionOptions
  readonly #socket: Socket
  readonly #reader = new FrameReader()
  #readTimer: NodeJS.Timeout | undefined
  readonly #idleTimer: NodeJS.Timeout
  #reason: Error | undefined
  #isPaused = false

  constructor(options: FramedConnectionOptions) {
    this.#options = options
    this.#socket = options.socket
    this.#idleTimer = setTimeout(() => this.#onIdle(), options.idleTimeoutMs)
    this.#idleTimer.unref()
    this.#socket.on('data', (chunk: Buffer) => this.#onData(chunk))
    this.#socket.on('drain', () => options.onDrain?.())
    this.#socket.on('error', (error) => {
      this.#reason ??= error
    })
    this.#socket.on('close', () => {
      clearTimeout(this.#idleTimer)
      clearTimeout(this.#readTimer)
      options.onClose(this.#reason)
    })
  }

  /** Bytes that the other side has not taken yet. */
  get pendingBytes(): number {
    return this.#socket.writableLength
  }

  send(bytes: Uint8Array): void {
    if (!this.#socket.writable) return
    this.#socket.write(toFrame(bytes))
    this.#idleTimer.refresh()
  }

  /** Stops (or goes on) reading: what the other side sends then waits in its own buffers. */
  setReading(reading: 'on' | 'off'): void {
    if (this.#isPaused === (reading === 'off')) return
    this.#isPaused = reading === 'off'
    if (this.#isPaused) {
      this.#socket.pause()
      clearTimeout(this.#readTimer)
      this.#readTimer = undefined
    } else {
      this.#socket.resume()
      this.#watchRead()
    }
  }

  /** Sends what is pending, then closes. */
  end(): void {
    this.#socket.end()
  }

  destroy(reason?: Error): void {
    this.#reason ??= reason
    this.#socket.destroy()
  }

  #onData(chunk: Buffer): void {
    try {
      const frames = this.#reader.push(chunk)
      if (frames.length > 0) {
        this.#idleTimer.refresh()
        clearTimeout(this.#readTimer)
        this.#readTimer = undefined
      }
      this.#watchRead()
      if (frames.length > 0) this.#options.onFrames(frames)
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  #watchRead(): void {
    if (!this.#reader.isPartial || this.#isPaused || this.#readTimer !== undefined) return
    const reason = new VmrmError('message-invalid', `A frame was not complete after ${this.#options.readTimeoutMs} ms`)
    this.#readTimer = setTimeout(() => this.destroy(reason), this.#options.readTimeoutMs)
    this.#readTimer.unref()
  }

  #onIdle(): void {
    if (this.#options.isBusy()) this.#idleTimer.refresh()
    else this.destroy()
  }
}

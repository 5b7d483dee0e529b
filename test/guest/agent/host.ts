// The host's end of the agent's port: greeting, sessions, and losing bytes the way a virtio-serial port does. It trusts nothing but nonces.
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { decodeFields, encodeFields, type Field, type FieldValue, u32Field } from '../../../lib/guest/frame/fields.ts'
import { encodeFrame, type Frame, type FrameFields, frameType } from '../../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../../lib/guest/frame/frame-reader.ts'

export interface HelloAnswer {
  readonly state: string
  readonly sessions: readonly bigint[]
}

/** Who wants the frames of one session, and to hear when the channel is new. */
export interface SessionEnd {
  onFrame(frame: Frame): void
  onRenewed(): void
}

const waitMs = 15_000

export class Host {
  readonly sessions = new Map<bigint, SessionEnd>()
  readonly faults: string[] = []
  /** Frames of session 0, newest last. */
  readonly daemonFrames: Frame[] = []
  hello: HelloAnswer | undefined
  /** Bytes that may still pass before the connection is cut; undefined: no cut is planned. */
  cutAfterBytesIn: number | undefined
  onCut: (() => void) | undefined
  #server: Server | undefined
  /** The path of a socket on which somebody else listens (QEMU); connected again after a cut. */
  #peerPath: string | undefined
  readonly #reader: FrameReader
  #socket: Socket | undefined
  #again: NodeJS.Timeout | undefined
  #nonce: Buffer = Buffer.alloc(16)
  readonly #waiters = new Set<() => void>()

  private constructor() {
    this.#reader = new FrameReader({
      frame: (frame) => this.#onFrame(frame),
      fault: (fault) => this.faults.push(fault),
    })
  }

  static async listen(path: string): Promise<Host> {
    const server = createServer()
    server.listen(path)
    await once(server, 'listening')
    const host = new Host()
    host.#server = server
    server.on('connection', (socket) => host.#onConnection(socket))
    return host
  }

  /** The host's end of a VM's port: QEMU listens. */
  static connect(path: string): Host {
    const host = new Host()
    host.#peerPath = path
    host.#dial()
    return host
  }

  #dial(): void {
    if (this.#peerPath === undefined) return
    const socket = connect(this.#peerPath)
    socket.once('connect', () => this.#onConnection(socket))
    socket.once('error', () => setTimeout(() => this.#dial(), 20))
  }

  get isConnected(): boolean {
    return this.#socket !== undefined
  }

  #onConnection(socket: Socket): void {
    this.#socket = socket
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => this.#onBytes(socket, chunk))
    socket.on('close', () => {
      if (this.#socket === socket) this.#socket = undefined
      this.#wake()
    })
    this.sendHello()
  }

  sendHello(): void {
    this.hello = undefined
    this.#nonce = randomBytes(16)
    this.#reader.hunt(this.#nonce)
    this.#sayHello()
    clearInterval(this.#again)
    // What is written before a guest has its port open may be lost.
    this.#again = setInterval(() => {
      if (this.isConnected && this.hello === undefined) this.#sayHello()
      else clearInterval(this.#again)
    }, 250)
  }

  #sayHello(): void {
    this.send({
      type: frameType.hello,
      payload: encodeFields([
        [1, this.#nonce],
        [2, u32Field(1)],
      ]),
    })
  }

  #onBytes(socket: Socket, chunk: Buffer): void {
    if (socket !== this.#socket) return
    if (this.cutAfterBytesIn === undefined) {
      this.#reader.push(chunk)
      return
    }
    // The bytes behind the cut are lost, as QEMU loses them.
    this.#reader.push(chunk.subarray(0, this.cutAfterBytesIn))
    this.cutAfterBytesIn -= chunk.length
    if (this.cutAfterBytesIn > 0) return
    this.cut()
  }

  /** The VM's port is elsewhere from now on. */
  moveTo(path: string): void {
    this.#peerPath = path
    this.cut()
  }

  /** Closes the connection at once; what is under way is lost. */
  cut(): void {
    this.cutAfterBytesIn = undefined
    const socket = this.#socket
    this.#socket = undefined
    this.hello = undefined
    socket?.destroy()
    if (this.#peerPath !== undefined) setImmediate(() => this.#dial())
    this.onCut?.()
  }

  #onFrame(frame: Frame): void {
    if (frame.type === frameType.helloAck) this.#onHello(frame)
    if (frame.session === 0n) this.daemonFrames.push(frame)
    else this.sessions.get(frame.session)?.onFrame(frame)
    this.#wake()
  }

  #onHello(frame: Frame): void {
    const fields = decodeFields(frame.payload) ?? []
    this.hello = {
      state: valueWith(fields, 4)?.toString() ?? '',
      sessions: fields.filter((f) => f.tag === 5).map((f) => f.value.readBigUInt64LE()),
    }
    for (const end of this.sessions.values()) end.onRenewed()
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter()
  }

  /** Sends a frame; false: nobody is connected, it is lost. */
  send(fields: FrameFields): boolean {
    return this.sendBytes(encodeFrame(fields))
  }

  sendBytes(bytes: Buffer): boolean {
    if (this.#socket === undefined) return false
    this.#socket.write(bytes)
    return true
  }

  /** Bytes that the agent has not read yet, as far as this side knows. */
  get unsentBytes(): number {
    return this.#socket?.writableLength ?? 0
  }

  /** Resolves with the first truthy answer of `check`, asked again whenever a frame came. */
  async until<T>(what: string, check: () => T | undefined | false): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => finish(() => reject(new Error(`waited ${waitMs} ms for ${what}`))), waitMs)
      const look = (): void => {
        const answer = check()
        if (answer) finish(() => resolve(answer))
      }
      const finish = (settle: () => void): void => {
        clearTimeout(timer)
        this.#waiters.delete(look)
        settle()
      }
      this.#waiters.add(look)
      look()
    })
  }

  async greeted(): Promise<HelloAnswer> {
    return this.until('HELLO_ACK', () => this.hello)
  }

  /** Sends IDENTITY; resolves with its complaint, '' when there is none. */
  async identify(fields: readonly (readonly [number, FieldValue])[]): Promise<string> {
    const seen = this.daemonFrames.length
    this.send({ type: frameType.identity, payload: encodeFields(fields) })
    const done = await this.until('IDENTITY_DONE', () =>
      this.daemonFrames.slice(seen).find((f) => f.type === frameType.identityDone),
    )
    return valueWith(decodeFields(done.payload) ?? [], 1)?.toString() ?? ''
  }

  async close(): Promise<void> {
    const server = this.#server
    this.#peerPath = undefined
    this.cut()
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()))
  }
}

export function valueWith(fields: readonly Field[], tag: number): Buffer | undefined {
  return fields.find((f) => f.tag === tag)?.value
}

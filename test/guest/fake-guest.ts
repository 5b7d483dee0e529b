// A guest that says what a test wants it to: the agent's end of a port, and clients of task.sock that speak frames as they like. It runs nothing.
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { decodeFields, encodeFields, textOf, u64Field } from '../../lib/guest/frame/fields.ts'
import { decodeFrame, encodeFrame, type Frame, type FrameFields, frameType } from '../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../lib/guest/frame/frame-reader.ts'
import { until } from '../support/until.ts'

export class FakeGuest {
  /** What the host has sent, but for hellos. */
  readonly frames: Frame[] = []
  /** Sessions it claims in its next hello. */
  sessions: readonly bigint[] = []
  /** What it says right behind each answer to a hello. */
  repeated: readonly FrameFields[] = []
  readonly #server: Server
  #socket: Socket | undefined

  constructor() {
    this.#server = createServer((socket) => {
      this.#socket = socket
      const reader = new FrameReader({ frame: (frame) => this.#receive(frame), fault: () => {} })
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => reader.push(chunk))
    })
  }

  async listen(path: string): Promise<void> {
    this.#server.listen(path)
    await once(this.#server, 'listening')
  }

  send(...frames: readonly FrameFields[]): void {
    this.#socket?.write(Buffer.concat(frames.map((frame) => encodeFrame(frame))))
  }

  call(parent: bigint, session: bigint, command = 'squeue'): void {
    this.send(callFrame(parent, session, command))
  }

  pause(): void {
    this.#socket?.pause()
  }

  resume(): void {
    this.#socket?.resume()
  }

  of(session: bigint, type: number): Frame[] {
    return this.frames.filter((frame) => frame.session === session && frame.type === type)
  }

  /** What the KILL for a session said. */
  async killed(session: bigint): Promise<string> {
    await until(`KILL for ${session}`, () => this.of(session, frameType.kill).length > 0)
    return textOf(decodeFields(this.of(session, frameType.kill)[0]?.payload ?? Buffer.alloc(0)) ?? [], 1) ?? ''
  }

  close(): void {
    this.#server.close()
    this.#socket?.destroy()
  }

  #receive(frame: Frame): void {
    if (frame.type !== frameType.hello) {
      this.frames.push(decodeFrame(Buffer.from(frame.raw)))
      return
    }
    const fields = [[4, 'identified'] as const, ...this.sessions.map((session) => [5, u64Field(session)] as const)]
    const answer = { type: frameType.helloAck, payload: Buffer.concat([frame.payload, encodeFields(fields)]) }
    this.send(answer, ...this.repeated)
  }
}

export const callFrame = (parent: bigint, session: bigint, command = 'squeue'): FrameFields => ({
  type: frameType.call,
  session: parent,
  payload: encodeFields([
    [1, u64Field(session)],
    [2, command],
  ]),
})

/** One connection to task.sock. */
export class RawClient {
  readonly frames: Frame[] = []
  readonly closed: Promise<unknown>
  readonly #socket: Socket

  private constructor(socket: Socket) {
    this.#socket = socket
    const reader = new FrameReader({
      frame: (frame) => this.frames.push(decodeFrame(Buffer.from(frame.raw))),
      fault: () => {},
    })
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
    socket.on('error', () => {})
    this.closed = once(socket, 'close')
  }

  static async connect(path: string): Promise<RawClient> {
    const socket = connect(path)
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  send(...frames: readonly FrameFields[]): void {
    this.#socket.write(Buffer.concat(frames.map((frame) => encodeFrame(frame))))
  }

  async got(type: number, count = 1): Promise<Frame> {
    await until(`${count} frames of type ${type}`, () => this.frames.filter((f) => f.type === type).length >= count)
    return this.frames.filter((frame) => frame.type === type)[count - 1] as Frame
  }

  /** The field of its answer. */
  async attached(tag: number): Promise<string | undefined> {
    return textOf(decodeFields((await this.got(frameType.attached)).payload) ?? [], tag)
  }

  async refusal(): Promise<string | undefined> {
    return textOf(decodeFields((await this.got(frameType.refused)).payload) ?? [], 1)
  }

  end(): void {
    this.#socket.destroy()
  }
}

// One vmrm-run connected to vmrmd: its ATTACH, its pace, and the frames of its one session. It decides nothing about jobs.
import type { Socket } from 'node:net'
import { decodeFields, encodeFields, u32Field } from '../frame/fields.ts'
import { encodeFrame, type Frame, frameType } from '../frame/frame.ts'
import { FrameBudget } from '../frame/frame-budget.ts'
import { FrameReader } from '../frame/frame-reader.ts'
import { clientBreach } from '../frame/frame-rules.ts'
import {
  type AttachedFields,
  type AttachFields,
  attachedPayload,
  readAttach,
  readServe,
  type ServeFields,
} from './attach.ts'

export interface TaskClientEvents {
  attach(client: TaskClient, fields: AttachFields): void
  serve(client: TaskClient, fields: ServeFields): void
  /** A frame of the client's own session that it may send. */
  frame(client: TaskClient, frame: Frame): void
  /** The connection ended, whoever ended it. Called once. */
  gone(client: TaskClient, reason: string): void
  /** True while frames to the guest must wait; the client is then queued by `wait`. */
  isGuestFull(client: TaskClient): boolean
  wait(client: TaskClient): void
}

// What an honest client that is stopped may have outstanding is far below this; above it, frames are dropped and asked for again.
const maxUnsentBytes = 4 << 20
const framesPerSecond = 100_000
const attachWithinMs = 10_000

export class TaskClient {
  readonly uid: number
  session = 0n
  /** A task's vmrm-run, or the server of a call. */
  kind: 'task' | 'server' = 'task'
  /** Whether Slurm's commands are run for this task. */
  calls: 'allowed' | 'refused' = 'refused'
  readonly #socket: Socket
  readonly #events: TaskClientEvents
  readonly #reader: FrameReader
  readonly #budget: FrameBudget
  readonly #holds = new Set<'budget' | 'guest'>()
  readonly #attachTimer: NodeJS.Timeout
  #state: 'attaching' | 'admitting' | 'attached' | 'over' = 'attaching'
  #gone: 'no' | 'told' = 'no'
  #pending: Buffer | undefined
  #run: Buffer | undefined
  #pace: 'fine' | 'overrun' = 'fine'

  constructor(options: { socket: Socket; uid: number; events: TaskClientEvents }) {
    this.uid = options.uid
    this.#socket = options.socket
    this.#events = options.events
    this.#reader = new FrameReader({
      frame: (frame) => this.#receive(frame),
      fault: (fault) => this.drop(`a frame with a wrong ${fault}`),
    })
    this.#budget = new FrameBudget({ framesPerSecond, resume: () => this.#release('budget') })
    this.#attachTimer = setTimeout(() => this.drop('no ATTACH came'), attachWithinMs)
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk))
    this.#socket.on('drain', () => this.#caughtUp())
    this.#socket.on('error', () => {})
    this.#socket.on('end', () => this.drop('it closed the connection'))
    this.#socket.on('close', () => this.drop('the connection was closed'))
  }

  /** Says ATTACHED; from here on frames go both ways. */
  attached(place: AttachedFields): void {
    if (this.#state !== 'admitting') return
    this.#state = 'attached'
    const payload = encodeFields(attachedPayload(place))
    this.#socket.write(encodeFrame({ type: frameType.attached, session: this.session, payload }))
  }

  /** Says why not, and ends the connection. */
  refuse(text: string, exitCode: number): void {
    const payload = encodeFields([
      [1, text],
      [2, u32Field(exitCode)],
    ])
    this.#finish(encodeFrame({ type: frameType.refused, session: this.session, payload }))
  }

  /** Says that the VM is gone for good, and ends the connection. */
  lost(text: string): void {
    this.#finish(encodeFrame({ type: frameType.lost, session: this.session, payload: encodeFields([[1, text]]) }))
  }

  /** Says that frames may have been lost: the client answers with RESUME. */
  reset(): void {
    if (this.#state !== 'attached') return
    this.flush()
    this.#socket.write(encodeFrame({ type: frameType.reset, session: this.session }))
  }

  /** A frame that must not be dropped, however slowly the client reads. Its sender bounds how many there are. */
  tell(raw: Buffer): void {
    if (this.#state !== 'attached') return
    this.flush()
    this.#socket.write(raw)
  }

  /** A frame from the guest. Neighbours in memory are joined and written by `flush`. */
  deliver(raw: Buffer): void {
    if (this.#state !== 'attached' || this.#pace === 'overrun') return
    if (this.#socket.writableLength > maxUnsentBytes) {
      this.#pace = 'overrun'
      this.#run = undefined
      return
    }
    const run = this.#run
    if (run !== undefined && run.buffer === raw.buffer && run.byteOffset + run.length === raw.byteOffset) {
      this.#run = Buffer.from(run.buffer, run.byteOffset, run.length + raw.length)
      return
    }
    this.flush()
    this.#run = raw
  }

  flush(): void {
    const run = this.#run
    this.#run = undefined
    if (run !== undefined && this.#state === 'attached') this.#socket.write(run)
  }

  /** The guest takes frames again: handles what waited and goes on reading. */
  proceed(): void {
    const chunk = this.#pending
    this.#pending = undefined
    if (chunk !== undefined) this.#reader.push(chunk)
    if (this.#state === 'attached' && this.#events.isGuestFull(this)) this.#events.wait(this)
    else this.#release('guest')
  }

  /** Ends the connection at once. */
  drop(reason: string): void {
    this.#state = 'over'
    this.#run = undefined
    this.#reader.reset()
    clearTimeout(this.#attachTimer)
    this.#budget.stop()
    this.#socket.destroy()
    if (this.#gone === 'told') return
    this.#gone = 'told'
    this.#events.gone(this, reason)
  }

  #finish(last: Buffer): void {
    if (this.#state === 'over') return
    this.flush()
    this.#state = 'over'
    this.#socket.end(last)
    // The client must read to the end to get these words, but not at its own leisure.
    this.#socket.setTimeout(attachWithinMs, () => this.drop('it did not read the last frame'))
    this.#socket.resume()
  }

  #read(chunk: Buffer): void {
    if (this.#state === 'over') return
    const mustWait = this.#pending !== undefined || (this.#state === 'attached' && this.#events.isGuestFull(this))
    if (!mustWait) this.#reader.push(chunk)
    // A chunk may still come after the pause: behind what waits already.
    else this.#pending = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk])
    if (this.#state === 'attached' && this.#events.isGuestFull(this)) this.#holdForGuest()
  }

  #holdForGuest(): void {
    if (this.#holds.has('guest')) return
    this.#holds.add('guest')
    this.#socket.pause()
    this.#events.wait(this)
  }

  #release(hold: 'budget' | 'guest'): void {
    this.#holds.delete(hold)
    if (this.#holds.size === 0) this.#socket.resume()
  }

  #caughtUp(): void {
    if (this.#pace !== 'overrun') return
    this.#pace = 'fine'
    this.reset()
  }

  #receive(frame: Frame): void {
    if (this.#state === 'over') return
    if (this.#budget.spend() === 'exhausted') {
      this.#holds.add('budget')
      this.#socket.pause()
    }
    if (this.#state === 'attaching') {
      this.#receiveAttach(frame)
      return
    }
    const fault = this.#state === 'admitting' ? 'a frame before ATTACHED' : clientBreach(frame, this.kind)
    if (fault !== undefined || frame.session !== this.session) {
      this.drop(`it sent ${fault ?? 'a frame of another session'}`)
      return
    }
    this.#events.frame(this, frame)
  }

  #receiveAttach(frame: Frame): void {
    const fields = decodeFields(frame.payload)
    const attach = frame.type === frameType.attach && fields ? readAttach(frame.session, fields) : undefined
    const serve = frame.type === frameType.serve && fields ? readServe(frame.session, fields) : undefined
    if (attach === undefined && serve === undefined) {
      this.drop('it sent no proper ATTACH')
      return
    }
    clearTimeout(this.#attachTimer)
    this.session = frame.session
    this.#state = 'admitting'
    if (attach !== undefined) this.#events.attach(this, attach)
    if (serve === undefined) return
    this.kind = 'server'
    this.#events.serve(this, serve)
  }
}

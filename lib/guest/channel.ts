// vmrmd's end of one VM's virtio-serial port: hello, ping, identity, clock, and whole frames both ways. It never looks into a task's frames.
import { randomBytes } from 'node:crypto'
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { VmrmError } from '../errors/vmrm-error.ts'
import type { Log } from '../log.ts'
import { connectPort } from './connect-port.ts'
import { decodeFields, encodeFields, textOf, u32Field, u32Of, u64Field, u64sOf } from './fields.ts'
import { encodeFrame, type Frame, frameType, maxPayloadBytes, protocolVersion } from './frame.ts'
import { FrameBudget } from './frame-budget.ts'
import { FrameReader } from './frame-reader.ts'
import { guestBreach } from './frame-rules.ts'
import { encodeIdentity, type GuestIdentity } from './identity.ts'
import { settleUnlessBroken } from './settle.ts'

export type ChannelState = 'connecting' | 'greeting' | 'ready' | 'lost'

/** What the agent said about itself in its last hello. Everything here is a claim of the guest. */
export interface AgentInfo {
  readonly bootId: string
  /** 'template': it waits for the identity of a copy. */
  readonly identity: (typeof identityStates)[number]
  readonly sessions: readonly bigint[]
  readonly agent: string
}

interface ChannelEvents {
  /** The agent answered the hello: the first one, or the one after `reopen` or a renewal. */
  ready: [info: AgentInfo]
  /** The channel is being renewed, or was lost: frames in flight may be gone until the next `ready`. */
  reset: [reason: string]
  /** The socket is closed; nothing comes until `reopen`. */
  lost: [reason: string]
  /** `send` may go on after it answered 'full'. */
  drain: []
}

export interface GuestChannelOptions {
  /** The unix socket QEMU listens on for this port. */
  readonly path: string
  readonly vm: string
  readonly log: Log
  /** How often the hello is said again while the guest boots: what is written before its driver is up may be lost. */
  readonly helloIntervalMs?: number
  /** Frames a second the guest may make us read. */
  readonly framesPerSecond?: number
}

export interface TemplateOptions {
  /** How long at most to wait until the guest's boot is over; default 20 s. */
  readonly restMs?: number
  /** A key made for this alone: with it the ssh server starts in the template already, and clones only give it theirs. */
  readonly sshHostKey?: string
}

const nonceBytes = 16
const identityStates = ['fresh', 'template', 'identified'] as const

export class GuestChannel extends EventEmitter<ChannelEvents> {
  readonly vm: string
  /** Gets every allowed frame of a task's session, in order. Set by the relay, which then calls `repeatMissed`. */
  onFrame: (frame: Frame) => void = () => {
    this.#missed = true
  }
  /** Called after all frames of one read were handed on. Set by the relay. */
  onBatchEnd: () => void = () => {}
  readonly #options: Required<GuestChannelOptions>
  readonly #reader: FrameReader
  readonly #budget: FrameBudget
  readonly #answers = new Map<string, (frame: Frame) => void>()
  #socket: Socket | undefined
  #state: ChannelState = 'lost'
  #nonce = Buffer.alloc(0)
  #helloTimer: NodeJS.Timeout | undefined
  #lastHelloMs = 0
  #info: AgentInfo | undefined
  #breaches = 0
  /** Frames came before there was a relay. */
  #missed = false

  constructor(options: GuestChannelOptions) {
    super()
    this.setMaxListeners(0)
    this.vm = options.vm
    this.#options = { helloIntervalMs: 200, framesPerSecond: 200_000, ...options }
    this.#reader = new FrameReader({
      frame: (frame) => this.#receive(frame),
      fault: (fault) => this.renew(`the guest sent a frame with a wrong ${fault}`),
    })
    this.#budget = new FrameBudget({
      framesPerSecond: this.#options.framesPerSecond,
      resume: () => this.#socket?.resume(),
    })
  }

  get state(): ChannelState {
    return this.#state
  }

  /** The agent's last hello; undefined before the first. */
  get info(): AgentInfo | undefined {
    return this.#info
  }

  /** How often the guest broke the protocol since the channel was made. */
  get breaches(): number {
    return this.#breaches
  }

  /**
   * Connects, also again after `lost`, and says hello until the agent answers. Retries until `signal` aborts, which must
   * carry the deadline; then rejects with the signal's reason and the channel is closed.
   */
  async open(signal: AbortSignal): Promise<AgentInfo> {
    this.close('opened anew')
    this.#state = 'connecting'
    try {
      this.#adopt(await connectPort(this.#options.path, signal))
      return await this.#settle<AgentInfo>(signal, (resolve) => {
        this.once('ready', resolve)
        this.#expectAnswer()
        this.#sayHello()
        return () => this.off('ready', resolve)
      })
    } catch (error) {
      this.close('not opened')
      throw signal.aborted ? signal.reason : error
    }
  }

  /** Says hello again on the same socket and drops everything until it is answered: what was in flight is lost. */
  renew(reason: string): void {
    if (this.#socket === undefined) return
    this.#breaches += 1
    this.#options.log.warn('channel.renewed', { vm: this.vm, reason })
    this.emit('reset', reason)
    this.#expectAnswer()
    // Not now: a guest that breaks every frame costs one hello an interval, not a busy loop.
    clearTimeout(this.#helloTimer)
    const waitMs = Math.max(0, this.#lastHelloMs + this.#options.helloIntervalMs - performance.now())
    this.#helloTimer = setTimeout(() => this.#sayHello(), waitMs)
  }

  /** Says hello again where frames came that nobody took: a guest that asks for a command as vmrmd comes back asks again. */
  repeatMissed(): void {
    if (!this.#missed) return
    this.#missed = false
    if (this.#state !== 'ready') return
    this.#expectAnswer()
    this.#sayHello()
  }

  /** Hands a whole frame to the guest. 'full': wait for `drain` before the next one that can wait. Dropped unless ready. */
  send(raw: Buffer): 'fine' | 'full' {
    if (this.#state !== 'ready' || this.#socket === undefined) return 'full'
    return this.#socket.write(raw) ? 'fine' : 'full'
  }

  /** True while a frame that can wait should wait. */
  get isFull(): boolean {
    return this.#state !== 'ready' || this.#socket === undefined || this.#socket.writableNeedDrain
  }

  /** Milliseconds that a ping took. */
  async ping(signal: AbortSignal): Promise<number> {
    const token = randomBytes(8)
    const started = performance.now()
    await this.#ask(`pong ${token.toString('hex')}`, encodeFrame({ type: frameType.ping, payload: token }), signal)
    return performance.now() - started
  }

  /**
   * Gives the VM its identity; the answer is what the agent says of the milliseconds that each step took (`clock=1 uuid=2 …`).
   * Rejects with `identity-failed` and the agent's sentence when the guest could not take it.
   */
  async identify(identity: GuestIdentity, signal: AbortSignal): Promise<string> {
    const payload = encodeIdentity(identity)
    if (payload.length > maxPayloadBytes) {
      throw new VmrmError('identity-failed', `The identity of ${this.vm} is too large: ${payload.length} bytes.`)
    }
    const frame = await this.#ask('identity', encodeFrame({ type: frameType.identity, payload }), signal)
    const text = complaintOf(frame)
    if (text !== undefined) {
      throw new VmrmError('identity-failed', `${this.vm} could not take on its identity.`, { quoted: text })
    }
    return textOf(decodeFields(frame.payload) ?? [], 2)?.slice(0, 256) ?? ''
  }

  /**
   * Has a guest without identity make itself a template: when this resolves, it may be paused and saved at any time, and each
   * copy of it that goes on takes an identity as a guest that has booted does. The caller closes the channel before it pauses the VM.
   * It waits first until the guest's boot is over, at most `restMs`: what still runs then would run on in each copy.
   * Rejects with `template-failed` and the agent's sentence when the guest cannot, as with an identity or a task; with the signal's
   * reason when it aborts, which must carry the deadline.
   */
  async prepareTemplate(signal: AbortSignal, options: TemplateOptions = {}): Promise<void> {
    const { restMs = 20_000, sshHostKey } = options
    const hostKey = sshHostKey === undefined ? [] : ([[2, sshHostKey]] as const)
    const payload = encodeFields([[1, u32Field(restMs)], ...hostKey])
    const frame = await this.#ask('template', encodeFrame({ type: frameType.template, payload }), signal)
    const text = complaintOf(frame)
    if (text === undefined) return
    throw new VmrmError('template-failed', `${this.vm} cannot be a template.`, { quoted: text })
  }

  /** Tells the guest the time: a clock that is behind is set, one that is ahead stays. Nothing is sent while the guest takes nothing. */
  tellTime(timeNs: bigint): void {
    if (this.isFull) return
    this.send(encodeFrame({ type: frameType.clock, payload: encodeFields([[1, u64Field(timeNs)]]) }))
  }

  /** Closes the socket. No event follows, but for `lost` where the channel was in use. */
  close(reason = 'closed'): void {
    const socket = this.#socket
    this.#socket = undefined
    clearTimeout(this.#helloTimer)
    this.#helloTimer = undefined
    this.#budget.stop()
    this.#state = 'lost'
    this.#reader.hunt(randomBytes(nonceBytes))
    socket?.destroy()
    if (socket !== undefined) this.emit('lost', reason)
  }

  #adopt(socket: Socket): void {
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => this.#read(socket, chunk))
    socket.on('drain', () => this.emit('drain'))
    socket.on('error', (error) => this.#options.log.debug('channel.error', { vm: this.vm, text: error.message }))
    socket.on('close', () => {
      if (this.#socket === socket) this.close('the port was closed')
    })
  }

  #read(socket: Socket, chunk: Buffer): void {
    if (this.#socket !== socket) return
    if (this.#state === 'greeting') this.#hastenHello()
    this.#reader.push(chunk)
    this.onBatchEnd()
  }

  /** From here on only the answer to a hello with a new nonce counts. */
  #expectAnswer(): void {
    this.#state = 'greeting'
    this.#nonce = randomBytes(nonceBytes)
    this.#reader.hunt(this.#nonce)
  }

  #sayHello(): void {
    const payload = encodeFields([
      [1, this.#nonce],
      [2, u32Field(protocolVersion)],
    ])
    this.#lastHelloMs = performance.now()
    // A guest that reads nothing must not make us queue hellos without end.
    if (this.#socket?.writableNeedDrain === false) {
      this.#socket.write(encodeFrame({ type: frameType.hello, payload }))
    }
    clearTimeout(this.#helloTimer)
    this.#helloTimer = setTimeout(() => this.#sayHello(), this.#options.helloIntervalMs)
  }

  /** Bytes from a guest we greet: its driver is up, though it may have lost our hello. */
  #hastenHello(): void {
    if (performance.now() - this.#lastHelloMs < this.#options.helloIntervalMs / 4) return
    this.#lastHelloMs = performance.now()
    clearTimeout(this.#helloTimer)
    this.#helloTimer = setTimeout(() => this.#sayHello(), 0)
  }

  #receive(frame: Frame): void {
    if (this.#budget.spend() === 'exhausted') this.#socket?.pause()
    const fault = guestBreach(frame)
    if (fault !== undefined) {
      this.renew(`the guest sent ${fault}`)
      return
    }
    if (frame.session !== 0n) this.onFrame(frame)
    else if (frame.type === frameType.helloAck) this.#receiveHello(frame)
    else if (frame.type === frameType.ping) this.#answerPing(frame)
    else if (frame.type === frameType.pong) this.#answers.get(`pong ${frame.payload.toString('hex')}`)?.(frame)
    else this.#answers.get(frame.type === frameType.templateReady ? 'template' : 'identity')?.(frame)
  }

  #answerPing({ payload }: Frame): void {
    // A guest that asks and never reads must not make us queue answers without end.
    if (!this.isFull) this.send(encodeFrame({ type: frameType.pong, payload }))
  }

  #receiveHello(frame: Frame): void {
    if (this.#state !== 'greeting') return
    const fields = decodeFields(frame.payload)
    const nonce = fields?.find((field) => field.tag === 1)?.value
    if (fields === undefined || nonce?.equals(this.#nonce) !== true) {
      this.#reader.hunt(this.#nonce)
      return
    }
    clearTimeout(this.#helloTimer)
    this.#helloTimer = undefined
    const version = u32Of(fields, 2)
    if (version !== protocolVersion) {
      this.close(`its agent speaks protocol ${version}, vmrmd speaks ${protocolVersion}`)
      return
    }
    this.#state = 'ready'
    this.#info = {
      bootId: textOf(fields, 3) ?? '',
      identity: identityStates.find((state) => state === textOf(fields, 4)) ?? 'fresh',
      sessions: u64sOf(fields, 5),
      agent: textOf(fields, 6) ?? '',
    }
    this.emit('ready', this.#info)
    this.emit('drain')
  }

  #ask(key: string, raw: Buffer, signal: AbortSignal): Promise<Frame> {
    return this.#settle<Frame>(signal, (resolve) => {
      this.#answers.set(key, resolve)
      this.send(raw)
      return () => this.#answers.delete(key)
    })
  }

  #settle<T>(signal: AbortSignal, begin: (resolve: (value: T) => void) => () => void): Promise<T> {
    return settleUnlessBroken({
      signal,
      begin,
      watch: (broken) => {
        const fail = (reason: string) =>
          broken(new VmrmError('vm-lost', `The agent of ${this.vm} does not answer any more: ${reason}.`))
        this.on('lost', fail).on('reset', fail)
        return () => this.off('lost', fail).off('reset', fail)
      },
    })
  }
}

/** The sentence of an answer that says what went wrong. */
function complaintOf(frame: Frame): string | undefined {
  const fields = decodeFields(frame.payload)
  return fields === undefined ? 'the answer cannot be read' : textOf(fields, 1)
}

// vmrmd's end of one VM's virtio-serial port: it opens and renews the channel, and hands whole frames both ways. It never looks into a task's frames.
import { EventEmitter } from 'node:events'
import { VmrmError } from '../../errors/vmrm-error.ts'
import type { Log } from '../../log.ts'
import { encodeFields, u64Field } from '../frame/fields.ts'
import { encodeFrame, type Frame, frameType, protocolVersion } from '../frame/frame.ts'
import { guestBreach } from '../frame/frame-rules.ts'
import type { AgentInfo } from './agent-info.ts'
import { askToBeTemplate, askToIdentify, type TemplateOptions } from './agent-requests.ts'
import { connectPort } from './connect-port.ts'
import { Greeting } from './greeting.ts'
import { GuestPort } from './guest-port.ts'
import type { GuestIdentity } from './identity.ts'
import { settleUnlessBroken } from './settle.ts'

export type ChannelState = 'connecting' | 'greeting' | 'ready' | 'lost'

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

export class GuestChannel extends EventEmitter<ChannelEvents> {
  readonly vm: string
  /** Gets every allowed frame of a task's session, in order. Set by the relay, which then calls `repeatMissed`. */
  onFrame: (frame: Frame) => void = () => {
    this.#missed = true
  }
  /** Called after all frames of one read were handed on. Set by the relay. */
  onBatchEnd: () => void = () => {}
  readonly #options: Required<GuestChannelOptions>
  readonly #port: GuestPort
  readonly #greeting: Greeting
  /** Who waits for the agent's own answers, by the type of its frame. */
  readonly #answers = new Map<number, (frame: Frame) => void>()
  #state: ChannelState = 'lost'
  #info: AgentInfo | undefined
  /** Frames came before there was a relay. */
  #missed = false

  constructor(options: GuestChannelOptions) {
    super()
    this.setMaxListeners(0)
    this.vm = options.vm
    this.#options = { helloIntervalMs: 200, framesPerSecond: 200_000, ...options }
    this.#port = new GuestPort({
      framesPerSecond: this.#options.framesPerSecond,
      events: {
        heard: () => {
          if (this.#state === 'greeting') this.#greeting.hasten()
        },
        frame: (frame) => this.#receive(frame),
        fault: (fault) => this.renew(`the guest sent a frame with a wrong ${fault}`),
        batchEnd: () => this.onBatchEnd(),
        drain: () => this.emit('drain'),
        error: ({ message }) => this.#options.log.debug('channel.error', { vm: this.vm, text: message }),
        closed: () => this.close('the port was closed'),
      },
    })
    this.#greeting = new Greeting({
      intervalMs: this.#options.helloIntervalMs,
      // A guest that reads nothing must not make us queue hellos without end.
      write: (raw) => {
        if (!this.#port.isFull) this.#port.write(raw)
      },
    })
  }

  get state(): ChannelState {
    return this.#state
  }

  /** The agent's last hello; undefined before the first. */
  get info(): AgentInfo | undefined {
    return this.#info
  }

  /**
   * Connects, also again after `lost`, and says hello until the agent answers. Retries until `signal` aborts, which must
   * carry the deadline; then rejects with the signal's reason and the channel is closed.
   */
  async open(signal: AbortSignal): Promise<AgentInfo> {
    this.close('opened anew')
    this.#state = 'connecting'
    try {
      this.#port.adopt(await connectPort(this.#options.path, signal))
      return await this.#settle<AgentInfo>(signal, (resolve) => {
        this.once('ready', resolve)
        this.#expectAnswer()
        this.#greeting.say()
        return () => this.off('ready', resolve)
      })
    } catch (error) {
      this.close('not opened')
      throw signal.aborted ? signal.reason : error
    }
  }

  /** Says hello again on the same socket and drops everything until it is answered: what was in flight is lost. */
  renew(reason: string): void {
    if (!this.#port.isOpen) return
    this.#options.log.warn('channel.renewed', { vm: this.vm, reason })
    this.emit('reset', reason)
    this.#expectAnswer()
    this.#greeting.sayInTurn()
  }

  /** Says hello again where frames came that nobody took: a guest that asks for a command as vmrmd comes back asks again. */
  repeatMissed(): void {
    if (!this.#missed) return
    this.#missed = false
    if (this.#state !== 'ready') return
    this.#expectAnswer()
    this.#greeting.say()
  }

  /** Hands a whole frame to the guest. 'full': wait for `drain` before the next one that can wait. Dropped unless ready. */
  send(raw: Buffer): 'fine' | 'full' {
    return this.#state === 'ready' ? this.#port.write(raw) : 'full'
  }

  /** True while a frame that can wait should wait. */
  get isFull(): boolean {
    return this.#state !== 'ready' || this.#port.isFull
  }

  /**
   * Gives the VM its identity; the answer is what the agent says of the milliseconds that each step took (`clock=1 uuid=2 …`).
   * Rejects with `identity-failed` and the agent's sentence when the guest could not take it.
   */
  identify(identity: GuestIdentity, signal: AbortSignal): Promise<string> {
    return askToIdentify(this.vm, identity, (type, raw) => this.#ask(type, raw, signal))
  }

  /**
   * Has a guest without identity make itself a template: when this resolves, it may be paused and saved at any time, and each
   * copy of it that goes on takes an identity as a guest that has booted does. The caller closes the channel before it pauses the VM.
   * It waits first until the guest's boot is over, at most `restMs`: what still runs then would run on in each copy.
   * Rejects with `template-failed` and the agent's sentence when the guest cannot, as with an identity or a task; with the signal's
   * reason when it aborts, which must carry the deadline.
   */
  prepareTemplate(signal: AbortSignal, options: TemplateOptions = {}): Promise<void> {
    return askToBeTemplate(this.vm, options, (type, raw) => this.#ask(type, raw, signal))
  }

  /** Tells the guest the time: a clock that is behind is set, one that is ahead stays. Nothing is sent while the guest takes nothing. */
  tellTime(timeNs: bigint): void {
    if (this.isFull) return
    this.send(encodeFrame({ type: frameType.clock, payload: encodeFields([[1, u64Field(timeNs)]]) }))
  }

  /** Closes the socket. No event follows, but for `lost` where the channel was in use. */
  close(reason = 'closed'): void {
    const wasOpen = this.#port.isOpen
    this.#greeting.stop()
    this.#port.close()
    this.#state = 'lost'
    if (wasOpen) this.emit('lost', reason)
  }

  #expectAnswer(): void {
    this.#state = 'greeting'
    this.#port.hunt(this.#greeting.begin())
  }

  #receive(frame: Frame): void {
    const fault = guestBreach(frame)
    if (fault !== undefined) {
      this.renew(`the guest sent ${fault}`)
      return
    }
    if (frame.session !== 0n) this.onFrame(frame)
    else if (frame.type === frameType.helloAck) this.#receiveHello(frame)
    else if (frame.type === frameType.ping) this.#answerPing(frame)
    else this.#answers.get(frame.type)?.(frame)
  }

  #answerPing({ payload }: Frame): void {
    // A guest that asks and never reads must not make us queue answers without end.
    if (!this.isFull) this.send(encodeFrame({ type: frameType.pong, payload }))
  }

  #receiveHello(frame: Frame): void {
    if (this.#state !== 'greeting') return
    const answer = this.#greeting.answerIn(frame)
    if (answer === undefined) {
      this.#port.hunt(this.#greeting.nonce)
      return
    }
    this.#greeting.stop()
    if (answer.version !== protocolVersion) {
      this.close(`its agent speaks protocol ${answer.version}, vmrmd speaks ${protocolVersion}`)
      return
    }
    this.#state = 'ready'
    this.#info = answer.info
    this.emit('ready', this.#info)
    this.emit('drain')
  }

  #ask(answerType: number, raw: Buffer, signal: AbortSignal): Promise<Frame> {
    return this.#settle<Frame>(signal, (resolve) => {
      this.#answers.set(answerType, resolve)
      this.send(raw)
      return () => this.#answers.delete(answerType)
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

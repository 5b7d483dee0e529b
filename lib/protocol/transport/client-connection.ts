// One connection of a client: pairs replies with calls by id, and fails every waiter at once when it is lost.
import type { Socket } from 'node:net'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { type Envelope, knownEnvelope, readBody, readEnvelope, writeMessage } from '../envelope.ts'
import { checkLength, invalid } from '../invalid.ts'
import type { CallType, EventOf, EventType } from '../messages.ts'
import type { XmlElement } from '../xml/parse.ts'
import type { ClientChannel } from './channel.ts'
import { EventQueue } from './event-queue.ts'
import { FramedConnection } from './framed-connection.ts'

const readTimeoutMs = 30_000

export type SubscribedEvent = { [T in EventType]: { readonly type: T; readonly body: EventOf<T> } }[EventType]

export interface ClientConnectionOptions {
  /** Connecting or connected. */
  readonly socket: Socket
  readonly channel: ClientChannel
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  /** Words the error of a connection that could not be made or was lost. */
  readonly unreachable: (problem: string, cause?: unknown) => VmrmError
}

interface Waiter {
  readonly type: CallType
  readonly resolve: (body: unknown) => void
  readonly reject: (error: unknown) => void
}

export class ClientConnection {
  readonly #options: ClientConnectionOptions
  readonly #connection: FramedConnection
  readonly #waiters = new Map<number, Waiter>()
  readonly #subscriptions = new Map<number, EventQueue<SubscribedEvent>>()
  readonly #ready: Promise<void>
  #greeted: ((frame: Buffer) => void) | undefined
  #isEnded = false
  #lost: VmrmError | undefined
  #nextId = 1
  #sending: Promise<void>
  #opening: Promise<void> = Promise.resolve()

  constructor(options: ClientConnectionOptions) {
    this.#options = options
    const { socket } = options
    let failConnecting: (error: unknown) => void = () => {}
    this.#connection = new FramedConnection({
      socket,
      readTimeoutMs,
      idleTimeoutMs: options.idleTimeoutMs,
      isBusy: () => this.#waiters.size > 0 || this.#subscriptions.size > 0,
      onFrames: (frames) => this.#onFrames(frames),
      onClose: (reason) => {
        this.#isEnded = true
        const error = options.unreachable(reason === undefined ? 'the connection was closed' : reason.message)
        failConnecting(this.#lost ?? error)
        // Replies that came before the end are still opened (which takes a moment with MUNGE) and delivered.
        void this.#opening.then(() => this.#lose(error))
      },
    })
    this.#ready = new Promise((resolve, reject) => {
      failConnecting = reject
      const tooLate = `no connection within ${options.connectTimeoutMs} ms`
      const timer = setTimeout(() => this.#lose(options.unreachable(tooLate)), options.connectTimeoutMs)
      timer.unref()
      socket.once('connect', () => {
        this.#greet()
          .then(resolve, reject)
          .finally(() => clearTimeout(timer))
      })
      socket.once('close', () => clearTimeout(timer))
    })
    this.#sending = this.#ready.catch((error) => this.#lose(options.unreachable('no connection', error)))
  }

  get isOpen(): boolean {
    return this.#lost === undefined && !this.#isEnded
  }

  close(): void {
    this.#lose(this.#options.unreachable('this side closed the connection'))
  }

  /** Sends one request and resolves to the body of its reply; see ProtocolClient.call. */
  call(request: { type: CallType; body: unknown; signal: AbortSignal; id?: number }): Promise<unknown> {
    const { type, body, signal } = request
    const id = request.id ?? this.#takeId()
    return new Promise((resolve, reject) => {
      signal.throwIfAborted()
      if (this.#lost !== undefined) throw this.#lost
      const xml = writeMessage({ id, kind: 'request', type }, body)
      checkLength(xml, { what: type, limitBytes: this.#options.channel.limitBytes })
      const onAbort = () => {
        this.#waiters.delete(id)
        reject(signal.reason)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      const settled =
        <A>(settle: (argument: A) => void) =>
        (argument: A) => {
          signal.removeEventListener('abort', onAbort)
          settle(argument)
        }
      this.#waiters.set(id, { type, resolve: settled(resolve), reject: settled(reject) })
      this.#send(xml, id)
    })
  }

  async subscribe(body: unknown, signal: AbortSignal): Promise<AsyncIterableIterator<SubscribedEvent>> {
    const id = this.#takeId()
    const queue = new EventQueue<SubscribedEvent>()
    this.#subscriptions.set(id, queue)
    try {
      await this.call({ type: 'subscribe', body, signal, id })
    } catch (error) {
      this.#subscriptions.delete(id)
      throw error
    }
    return queue.read(() => this.#subscriptions.delete(id))
  }

  #takeId(): number {
    const id = this.#nextId
    this.#nextId += 1
    return id
  }

  #send(xml: string, id: number): void {
    this.#sending = this.#sending.then(async () => {
      // An aborted call that was not sent yet is not sent at all.
      if (this.#lost !== undefined || !this.#waiters.has(id)) return
      try {
        this.#connection.send(await this.#options.channel.seal(xml))
      } catch (error) {
        // A seal that failed has used up its sequence number: this connection cannot go on.
        this.#lose(error instanceof VmrmError ? error : this.#options.unreachable('sealing failed', error))
      }
    })
  }

  async #greet(): Promise<void> {
    const { greeting } = this.#options.channel
    if (greeting === undefined) return
    const answer = new Promise<Buffer>((resolve) => {
      this.#greeted = resolve
    })
    this.#connection.send(await greeting.request())
    await greeting.accept(await answer)
  }

  #onFrames(frames: Buffer[]): void {
    for (const frame of frames) {
      if (this.#greeted !== undefined) {
        this.#greeted(frame)
        this.#greeted = undefined
        continue
      }
      this.#opening = this.#opening.then(async () => {
        if (this.#lost !== undefined) return
        try {
          this.#onMessage(await this.#options.channel.open(frame))
        } catch (error) {
          this.#lose(this.#options.unreachable('its answer cannot be trusted', error))
        }
      })
    }
  }

  #onMessage(root: XmlElement): void {
    const envelope = knownEnvelope(readEnvelope(root))
    if (envelope.type === 'protocol-error') readBody(root, envelope)
    if (envelope.kind === 'request') throw invalid('vmrm', 'the other side sent a request')
    if (envelope.kind === 'event') this.#onEvent(root, envelope)
    else this.#onReply(root, envelope)
  }

  #onReply(root: XmlElement, envelope: Envelope): void {
    const waiter = this.#waiters.get(envelope.id)
    // Without a waiter the call was given up meanwhile.
    if (waiter === undefined) return
    this.#waiters.delete(envelope.id)
    try {
      if (envelope.type !== waiter.type) throw invalid('vmrm', `${envelope.type} answers ${waiter.type}`)
      waiter.resolve(readBody(root, envelope))
    } catch (error) {
      waiter.reject(error)
    }
  }

  #onEvent(root: XmlElement, envelope: Envelope): void {
    const event = { type: envelope.type, body: readBody(root, envelope) } as SubscribedEvent
    const queue = this.#subscriptions.get(envelope.id)
    if (queue !== undefined && !queue.push(event)) {
      this.#subscriptions.delete(envelope.id)
      queue.fail(new VmrmError('message-invalid', 'Events came faster than they were read'))
    }
  }

  #lose(error: VmrmError): void {
    if (this.#lost !== undefined) return
    this.#lost = error
    this.#connection.destroy()
    for (const waiter of this.#waiters.values()) waiter.reject(error)
    this.#waiters.clear()
    for (const queue of this.#subscriptions.values()) queue.fail(error)
    this.#subscriptions.clear()
  }
}

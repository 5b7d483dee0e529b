// One caller's connection: opens frames in order, runs handlers side by side, sends replies in order of completion.
// It owns the bounds of one connection; what a handler does is the server's matter.
import type { Socket } from 'node:net'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import type { Log } from '../../log.ts'
import { type AnyEnvelope, readEnvelope, writeError } from '../envelope.ts'
import { checkLength } from '../invalid.ts'
import type { XmlElement } from '../xml/parse.ts'
import type { Caller } from './caller.ts'
import type { ServerChannel } from './channel.ts'
import { FramedConnection } from './framed-connection.ts'

export interface ConnectionLimits {
  /** A frame that has begun, and the first frame of a connection, must be there within this. */
  readonly readTimeoutMs: number
  readonly idleTimeoutMs: number
  /** Requests of one connection that are worked on at once; more wait unread. */
  readonly requestsPerConnection: number
  /** Replies that the caller has not taken: above this, no more requests are read, and a subscriber is cut off. */
  readonly pendingReplyBytes: number
}

export interface ServedRequest {
  readonly envelope: AnyEnvelope
  readonly root: XmlElement
  readonly caller: Caller
  /** Aborts when the connection has ended: nobody waits for the reply any more. */
  readonly signal: AbortSignal
  /** Sends an event's XML to this caller; does nothing once the connection has ended. */
  readonly sendEvent: (xml: string) => void
  /** From now on this connection waits for events: it is never idle. */
  readonly markSubscribed: () => void
}

export interface ServerConnectionOptions {
  readonly socket: Socket
  readonly channel: ServerChannel
  readonly limits: ConnectionLimits
  readonly log: Log
  /** Resolves to the XML of the reply. A rejection becomes an <error> reply. */
  readonly serve: (request: ServedRequest) => Promise<string>
  /** Called once, when the caller is known; throwing ends the connection. */
  readonly onCaller: (caller: Caller) => void
  readonly onClose: () => void
}

export class ServerConnection {
  readonly #options: ServerConnectionOptions
  readonly #connection: FramedConnection
  readonly #closed = new AbortController()
  readonly #waiting: Buffer[] = []
  /** A frame has come; who sent it may not be known yet. */
  #hasHeard = false
  #isPumping = false
  #inFlight = 0
  #subscription: 'none' | 'subscribed' = 'none'
  #sending: Promise<void> = Promise.resolve()
  #lifecycle: 'open' | 'draining' = 'open'
  #caller: Caller | undefined

  constructor(options: ServerConnectionOptions) {
    this.#options = options
    const { limits, socket } = options
    const late = () => this.#fail(new VmrmError('message-invalid', 'The first message did not come in time'))
    // Looked for once more: where this process was busy it may be there, unread.
    const firstFrame = setTimeout(() => setImmediate(() => this.#hasHeard || late()), limits.readTimeoutMs)
    firstFrame.unref()
    this.#connection = new FramedConnection({
      socket,
      readTimeoutMs: limits.readTimeoutMs,
      idleTimeoutMs: limits.idleTimeoutMs,
      isBusy: () => this.#inFlight > 0 || this.#subscription === 'subscribed',
      onFrames: (frames) => {
        this.#hasHeard = true
        if (this.#lifecycle !== 'open') return
        this.#waiting.push(...frames)
        // Read no further until these are opened: MUNGE may be slower than the network.
        this.#connection.setReading('off')
        void this.#pump()
      },
      onDrain: () => void this.#pump(),
      onClose: (reason) => {
        clearTimeout(firstFrame)
        if (reason !== undefined) options.log.info('protocol.connection-lost', { reason: reason.message })
        this.#closed.abort(new VmrmError('run-ended', 'The caller is gone'))
        options.onClose()
      },
    })
  }

  /** Takes no more requests, answers those that run, then closes. Settles when the connection has ended. */
  async drain(): Promise<void> {
    this.#lifecycle = 'draining'
    this.#waiting.length = 0
    this.#connection.setReading('on')
    if (this.#inFlight === 0) this.#finish()
    if (this.#closed.signal.aborted) return
    await new Promise((resolve) => this.#closed.signal.addEventListener('abort', resolve, { once: true }))
  }

  destroy(): void {
    this.#connection.destroy()
  }

  #finish(): void {
    void this.#sending.then(() => this.#connection.end())
    // The other side may never close its half: a bounded wait, then it is gone.
    setTimeout(() => this.#connection.destroy(), this.#options.limits.readTimeoutMs).unref()
  }

  #fail(error: unknown): void {
    const { code, message } = toVmrmError(error)
    this.#options.log.warn('protocol.connection-refused', { code, reason: message, uid: this.#caller?.uid })
    if (this.#options.channel.faults === 'answer' && this.#lifecycle === 'open') {
      this.#lifecycle = 'draining'
      void this.#send(writeError({ id: 0, type: 'protocol-error' }, toVmrmError(error)))
      this.#finish()
    } else {
      this.#connection.destroy()
    }
  }

  #hasRoom(): boolean {
    const { requestsPerConnection, pendingReplyBytes } = this.#options.limits
    return this.#inFlight < requestsPerConnection && this.#connection.pendingBytes < pendingReplyBytes
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return
    this.#isPumping = true
    try {
      while (this.#lifecycle === 'open' && !this.#closed.signal.aborted && this.#hasRoom()) {
        const frame = this.#waiting.shift()
        if (frame === undefined) break
        await this.#openFrame(frame)
      }
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#isPumping = false
      if (this.#lifecycle === 'open') this.#connection.setReading(this.#waiting.length > 0 ? 'off' : 'on')
    }
  }

  async #openFrame(frame: Buffer): Promise<void> {
    const opened = await this.#options.channel.open(frame)
    if (this.#caller === undefined) {
      this.#caller = opened.caller
      this.#options.onCaller(opened.caller)
    }
    if (opened.kind === 'answered') {
      this.#connection.send(opened.answer)
      return
    }
    const envelope = readEnvelope(opened.root)
    if (envelope.kind !== 'request') throw new VmrmError('message-invalid', `A caller sent a ${envelope.kind}`)
    void this.#serve(envelope, opened.root, opened.caller)
  }

  async #serve(envelope: AnyEnvelope, root: XmlElement, caller: Caller): Promise<void> {
    this.#inFlight += 1
    const request: ServedRequest = {
      envelope,
      root,
      caller,
      signal: this.#closed.signal,
      sendEvent: (xml) => this.#sendEvent(xml),
      markSubscribed: () => {
        this.#subscription = 'subscribed'
      },
    }
    const xml = await this.#reply(request).catch((error) => writeError(envelope, toVmrmError(error)))
    await this.#send(xml)
    this.#inFlight -= 1
    if (this.#lifecycle === 'draining' && this.#inFlight === 0) this.#finish()
    else void this.#pump()
  }

  async #reply(request: ServedRequest): Promise<string> {
    const xml = await this.#options.serve(request)
    checkLength(xml, { what: request.envelope.type, limitBytes: this.#options.channel.limitBytes })
    return xml
  }

  /** Seals and sends in one order: sequence numbers are given when sealing begins. */
  #send(xml: string): Promise<void> {
    this.#sending = this.#sending.then(async () => {
      if (this.#closed.signal.aborted) return
      try {
        this.#connection.send(await this.#options.channel.seal(xml))
      } catch (error) {
        this.#fail(error)
      }
    })
    return this.#sending
  }

  #sendEvent(xml: string): void {
    if (this.#connection.pendingBytes > this.#options.limits.pendingReplyBytes) {
      this.#fail(new VmrmError('message-invalid', 'A subscriber does not take its events'))
      return
    }
    void this.#send(xml)
  }
}

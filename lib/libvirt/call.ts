// One call to libvirtd and whoever waits for it: it settles exactly once, by a reply, its deadline, its signal or the loss of the connection.
import { VmrmError } from '../errors/vmrm-error.ts'
import { LibvirtError } from './libvirt-error.ts'
import type { Packet } from './packet.ts'
import { errorPayload, messageStatuses, type Procedure } from './protocol.ts'
import { XdrError, XdrReader, XdrWriter } from './xdr.ts'
import type { XdrType } from './xdr-type.ts'

/** How long one call may take, from asking to the answer; `signal` ends the wait with its reason. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds; default: the connection's `callTimeoutMs`. */
  readonly timeoutMs?: number | undefined
}

interface CallRequest<Args, Reply> {
  readonly procedure: Procedure<Args, Reply>
  readonly args: Args
  /** What is being done, for messages: `libvirt could not ACTION`. */
  readonly action: string
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

function decode<T>(type: XdrType<T>, payload: Buffer): T {
  const reader = new XdrReader(payload)
  const value = type.read(reader)
  reader.finish()
  return value
}

/**
 * A call under way. After a deadline or an abort nobody waits for it any more, but libvirtd may still be at it: the protocol has
 * no way to take a call back.
 */
export class Call<Args, Reply> {
  readonly procedure: Procedure<Args, Reply>
  readonly payload: Buffer
  readonly action: string
  readonly promise: Promise<Reply>
  readonly #resolve: (reply: Reply) => void
  readonly #reject: (error: unknown) => void
  readonly #release: () => void
  #progress: 'waiting' | 'sent' | 'settled' = 'waiting'

  /** Throws `message-invalid` where the arguments cannot be sent, the signal's reason where it has fired already. */
  constructor(request: CallRequest<Args, Reply>, onGivenUp: () => void) {
    const { signal, timeoutMs } = request
    signal?.throwIfAborted()
    this.procedure = request.procedure
    this.action = request.action
    this.payload = this.#encode(request.args)
    const { promise, resolve, reject } = Promise.withResolvers<Reply>()
    this.promise = promise
    this.#resolve = resolve
    this.#reject = reject
    const giveUp = (reason: unknown): void => {
      this.fail(reason)
      onGivenUp()
    }
    const timer = setTimeout(() => giveUp(this.#timeoutError(timeoutMs)), timeoutMs)
    const onAbort = (): void => giveUp(signal?.reason)
    signal?.addEventListener('abort', onAbort, { once: true })
    this.#release = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  get isSettled(): boolean {
    return this.#progress === 'settled'
  }

  markSent(): void {
    if (this.#progress === 'waiting') this.#progress = 'sent'
  }

  fail(error: unknown): void {
    if (this.isSettled) return
    this.#settle()
    this.#reject(error)
  }

  /** The answer of libvirtd; ignored when nobody waits any more. */
  answer(packet: Packet): void {
    if (this.isSettled) return
    try {
      if (packet.header.status === messageStatuses.ok) {
        const reply = decode(this.procedure.reply, packet.payload)
        this.#settle()
        this.#resolve(reply)
      } else {
        this.fail(new LibvirtError(this.action, decode(errorPayload, packet.payload)))
      }
    } catch (error) {
      if (!(error instanceof XdrError)) throw error
      const message = `libvirt's answer cannot be read (${this.procedure.name}), while asked to ${this.action}: ${error.message}`
      this.fail(new VmrmError('message-invalid', message, { cause: error }))
    }
  }

  #settle(): void {
    this.#progress = 'settled'
    this.#release()
  }

  #encode(args: Args): Buffer {
    const writer = new XdrWriter()
    try {
      this.procedure.args.write(writer, args)
    } catch (error) {
      if (!(error instanceof XdrError)) throw error
      const message = `libvirt cannot be asked to ${this.action}: ${error.message}`
      throw new VmrmError('message-invalid', message, { cause: error })
    }
    return writer.finish()
  }

  #timeoutError(timeoutMs: number): VmrmError {
    const effect =
      this.#progress === 'sent' ? 'it may still happen' : 'it was not asked yet, since other calls were under way'
    return new VmrmError('libvirt-timeout', `libvirt did not ${this.action} within ${timeoutMs} ms; ${effect}`)
  }
}

// biome-ignore lint/suspicious/noExplicitAny: the table holds calls of every type, and each knows its own
export type AnyCall = Call<any, any>

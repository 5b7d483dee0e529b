// Calls a vmrmd. It owns one connection, made when it is needed and shared by all calls; it never sends a call twice.
import { connect, type Socket } from 'node:net'
import type { ErrorCode } from '../errors/catalogue.ts'
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import type { ProgramCallType, ReplyOf, RequestOf } from './messages.ts'
import { plainClientChannel } from './transport/channel.ts'
import { ClientConnection, type SubscribedEvent } from './transport/client-connection.ts'
import { type MungeClientEnd, mungeClientChannel } from './transport/munge-channel.ts'

export type { SubscribedEvent } from './transport/client-connection.ts'

export type Connect =
  | { readonly kind: 'local'; readonly path: string }
  | ({ readonly kind: 'munge'; readonly host: string; readonly port: number } & MungeClientEnd)

export interface ClientOptions {
  readonly connect: Connect
  /** The code of every failure to reach the other side. */
  readonly unreachable: Extract<ErrorCode, 'daemon-unreachable' | 'controller-unreachable'>
  /** For making a connection, greeting included; default 5 s. */
  readonly connectTimeoutMs?: number
  /** An unused connection is closed after this; default 20 s, below the server's own so that no call meets its end. */
  readonly idleTimeoutMs?: number
}

export interface CallOptions {
  readonly signal?: AbortSignal
  /** Until the reply is there, connecting included; default 30 s. */
  readonly timeoutMs?: number
}

export interface ProtocolClient {
  /**
   * Resolves to the reply. Rejects with the error the other side replied, with `message-invalid` when the request does
   * not follow its definition (nothing is sent then), with the `unreachable` code at once when the connection is lost
   * (the other side may or may not have acted) or when the time is over, or with the signal's reason.
   */
  call<T extends ProgramCallType>(type: T, body: RequestOf<T>, options?: CallOptions): Promise<ReplyOf<T>>
  /** Resolves once subscribed. The iteration ends by leaving it, or throws the `unreachable` code on loss. */
  subscribe(body: RequestOf<'subscribe'>, options?: CallOptions): Promise<AsyncIterableIterator<SubscribedEvent>>
  /** Ends the connection; calls under way fail. A later call connects again. */
  close(): void
}

const defaultTimeoutMs = 30_000
const defaultConnectTimeoutMs = 5_000
const defaultIdleTimeoutMs = 20_000

function openSocket(target: Connect): Socket {
  if (target.kind === 'local') return connect(target.path)
  const socket = connect(target.port, target.host)
  socket.setNoDelay(true)
  socket.setKeepAlive(true, 15_000)
  return socket
}

class Client implements ProtocolClient {
  readonly #options: ClientOptions
  #connection: ClientConnection | undefined

  constructor(options: ClientOptions) {
    this.#options = options
  }

  async call<T extends ProgramCallType>(type: T, body: RequestOf<T>, options: CallOptions = {}) {
    return this.#bounded(type, options, async (signal) => {
      return (await this.#current().call({ type, body, signal })) as ReplyOf<T>
    })
  }

  subscribe(body: RequestOf<'subscribe'>, options: CallOptions = {}) {
    return this.#bounded('subscribe', options, (signal) => this.#current().subscribe(body, signal))
  }

  close(): void {
    this.#connection?.close()
    this.#connection = undefined
  }

  async #bounded<R>(
    type: string,
    { signal, timeoutMs = defaultTimeoutMs }: CallOptions,
    act: (signal: AbortSignal) => Promise<R>,
  ): Promise<R> {
    const late = new AbortController()
    const timer = setTimeout(
      () => late.abort(this.#unreachable(`no answer to ${type} within ${timeoutMs} ms`)),
      timeoutMs,
    )
    const abort = () => late.abort(signal?.reason)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    try {
      return await act(late.signal)
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
  }

  #unreachable(problem: string, cause?: unknown): VmrmError {
    const { connect: target } = this.#options
    const whom = target.kind === 'local' ? target.path : `${target.to} at ${target.host}:${target.port}`
    return new VmrmError(this.#options.unreachable, `Asking vmrmd (${whom}) failed: ${problem}`, { cause })
  }

  /** The connection, which may still be connecting: calls wait inside it. */
  #current(): ClientConnection {
    const { connect: target, connectTimeoutMs, idleTimeoutMs } = this.#options
    if (this.#connection?.isOpen) return this.#connection
    const connection = new ClientConnection({
      socket: openSocket(target),
      channel: target.kind === 'local' ? plainClientChannel() : mungeClientChannel(target),
      connectTimeoutMs: connectTimeoutMs ?? defaultConnectTimeoutMs,
      idleTimeoutMs: idleTimeoutMs ?? defaultIdleTimeoutMs,
      unreachable: (problem, cause) => {
        const known = cause === undefined ? '' : `: ${toVmrmError(cause).message}`
        return this.#unreachable(`${problem}${known}`, cause)
      },
    })
    this.#connection = connection
    return connection
  }
}

/** A client; it connects with its first call. */
export function createClient(options: ClientOptions): ProtocolClient {
  return new Client(options)
}

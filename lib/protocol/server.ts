// Answers messages over local sockets and TCP, with one set of handlers. It owns admission: who may connect and call,
// and how much at once. Handlers see typed requests of callers who may send them, and nothing else.
import type { Server, Socket } from 'node:net'
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import type { Log } from '../log.ts'
import type { MungeOptions } from '../munge/client.ts'
import type { Receiver } from './define.ts'
import { knownEnvelope, readBody, writeMessage } from './envelope.ts'
import { sessionMessages } from './messages/session.ts'
import {
  type EventOf,
  type EventType,
  messages,
  type ProgramCallType,
  type ReplyOf,
  type RequestOf,
} from './messages.ts'
import { authorise, type Caller, type PeerCredentials } from './transport/caller.ts'
import { plainServerChannel, type ServerChannel } from './transport/channel.ts'
import { listen, portOf } from './transport/listen.ts'
import { mungeServerChannel } from './transport/munge-channel.ts'
import { type ConnectionLimits, type ServedRequest, ServerConnection } from './transport/server-connection.ts'

export interface CallContext {
  /** Aborts when the caller's connection has ended. */
  readonly signal: AbortSignal
  /** Sends an event that belongs to this call (a subscription); does nothing once the connection has ended. */
  emit<T extends EventType>(type: T, body: EventOf<T>): void
}

export type Handlers = {
  readonly [T in ProgramCallType]?: (
    request: RequestOf<T>,
    caller: Caller,
    context: CallContext,
  ) => Promise<ReplyOf<T>> | ReplyOf<T>
}

export interface ServerLimits extends ConnectionLimits {
  readonly connections: number
  /** Of one user other than root and SlurmUser. */
  readonly connectionsPerUser: number
}

export const defaultServerLimits: ServerLimits = {
  readTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  requestsPerConnection: 64,
  pendingReplyBytes: 4 * 1024 * 1024,
  connections: 1_024,
  connectionsPerUser: 64,
}

export type Listen =
  | {
      readonly kind: 'local'
      readonly path: string
      /** Of the socket's file; default 0666: the credentials decide, not the file. */
      readonly mode?: number
      readonly peerCredentials: (socket: Socket) => Promise<PeerCredentials> | PeerCredentials
    }
  | {
      readonly kind: 'munge'
      readonly host: string
      /** 0: any free one. */
      readonly port: number
      /** This daemon's name: the node's, or `controller`. */
      readonly name: string
      /** The uid this process runs as, to which callers seal. */
      readonly ownUid: number
      readonly munge?: MungeOptions
    }

export interface ServerOptions {
  readonly role: Receiver
  readonly listen: readonly Listen[]
  readonly handlers: Handlers
  /** root and SlurmUser. */
  readonly trustedUids: readonly number[]
  readonly log: Log
  readonly limits?: Partial<ServerLimits>
}

export interface ProtocolServer {
  /** The TCP port, where one is listened on. */
  readonly port: number | undefined
  /** Takes no new work, lets running calls finish for at most `graceMs` (default 5 s), then ends every connection. */
  close(options?: { graceMs?: number }): Promise<void>
}

type AnyHandler = (request: unknown, caller: Caller, context: CallContext) => Promise<unknown> | unknown

/** Runs the handler of a request and words its reply. */
async function serve(options: ServerOptions, request: ServedRequest): Promise<string> {
  const { caller } = request
  const { id, type } = request.envelope
  const log = options.log.with({ type, uid: caller.uid, from: caller.from })
  const started = performance.now()
  try {
    const envelope = knownEnvelope(request.envelope)
    const definition = messages[envelope.type]
    if (definition.kind !== 'call' || Object.hasOwn(sessionMessages, type))
      throw new VmrmError('message-invalid', `${type} is no call here`)
    authorise({ type, definition, caller, receiver: options.role, trustedUids: options.trustedUids })
    const handler = options.handlers[type as keyof Handlers] as AnyHandler | undefined
    if (handler === undefined) throw new VmrmError('not-permitted', `This vmrmd does not answer ${type}`)
    const context: CallContext = {
      signal: request.signal,
      emit: (eventType, body) => request.sendEvent(writeMessage({ id, kind: 'event', type: eventType }, body)),
    }
    const reply = await handler(readBody(request.root, envelope), caller, context)
    const xml = writeReply(id, type as ProgramCallType, reply)
    if (type === 'subscribe') request.markSubscribed()
    log.debug('protocol.call', { ms: Math.round(performance.now() - started) })
    return xml
  } catch (thrown) {
    const error = toVmrmError(thrown)
    const level = error.family === 'bug' ? 'error' : 'info'
    log[level]('protocol.call-failed', { code: error.code, reason: error.message })
    throw error
  }
}

/** A reply that does not follow its definition is a bug of this side, not the caller's. */
function writeReply(id: number, type: ProgramCallType, reply: unknown): string {
  try {
    return writeMessage({ id, kind: 'reply', type }, reply)
  } catch (cause) {
    throw new VmrmError('internal', `The reply to ${type} cannot be sent: ${(cause as Error).message}`, { cause })
  }
}

class Admission {
  readonly #options: ServerOptions
  readonly #limits: ServerLimits
  readonly #log: Log
  readonly #connections = new Set<ServerConnection>()
  readonly #perUser = new Map<number, number>()

  constructor(options: ServerOptions, limits: ServerLimits) {
    this.#options = options
    this.#limits = limits
    this.#log = options.log
  }

  /** Serves a connection, or refuses it by closing it. */
  admit(socket: Socket, channel: ServerChannel, known: Caller | undefined): void {
    // It may have gone while the kernel was asked who it is.
    if (socket.destroyed) return
    const isTrusted = known !== undefined && this.#isTrusted(known.uid)
    if (!isTrusted && this.#connections.size >= this.#limits.connections) {
      this.#log.warn('protocol.too-many-connections', { limit: this.#limits.connections })
      socket.destroy()
      return
    }
    let counted: number | undefined
    const count = (caller: Caller) => {
      counted = caller.uid
      const users = (this.#perUser.get(caller.uid) ?? 0) + 1
      this.#perUser.set(caller.uid, users)
      if (users > this.#limits.connectionsPerUser && !this.#isTrusted(caller.uid)) {
        throw new VmrmError(
          'not-permitted',
          `uid ${caller.uid} has more than ${this.#limits.connectionsPerUser} connections`,
        )
      }
    }
    const connection: ServerConnection = new ServerConnection({
      socket,
      channel,
      limits: this.#limits,
      log: this.#log,
      serve: (request) => serve(this.#options, request),
      onCaller: count,
      onClose: () => {
        this.#connections.delete(connection)
        if (counted !== undefined) this.#release(counted)
      },
    })
    this.#connections.add(connection)
  }

  async drain(graceMs: number): Promise<void> {
    const timer = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy()
    }, graceMs)
    await Promise.all([...this.#connections].map((connection) => connection.drain()))
    clearTimeout(timer)
  }

  #isTrusted(uid: number): boolean {
    return this.#options.trustedUids.includes(uid)
  }

  #release(uid: number): void {
    const left = (this.#perUser.get(uid) ?? 1) - 1
    if (left > 0) this.#perUser.set(uid, left)
    else this.#perUser.delete(uid)
  }
}

/** Takes a new socket of one address to a channel. */
async function receive(socket: Socket, listening: Listen, options: ServerOptions, admission: Admission): Promise<void> {
  // A socket without a listener for errors would end the process.
  socket.on('error', () => {})
  if (listening.kind === 'munge') {
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 15_000)
    const end = { name: listening.name, ownUid: listening.ownUid, munge: listening.munge ?? {} }
    admission.admit(socket, mungeServerChannel({ ...end, trustedUids: options.trustedUids }), undefined)
    return
  }
  try {
    const caller: Caller = { from: 'local', ...(await listening.peerCredentials(socket)) }
    admission.admit(socket, plainServerChannel(caller), caller)
  } catch (error) {
    options.log.error('protocol.peer-unknown', { reason: (error as Error).message })
    socket.destroy()
  }
}

/** Resolves when every address is listened on; throws `config-invalid` (and listens on none) where one cannot be had. */
export async function createServer(options: ServerOptions): Promise<ProtocolServer> {
  const admission = new Admission(options, { ...defaultServerLimits, ...options.limits })
  const servers: Server[] = []
  const stop = () => Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  try {
    for (const listening of options.listen) {
      const address = listening.kind === 'local' ? { ...listening, mode: listening.mode ?? 0o666 } : listening
      servers.push(await listen(address, (socket) => void receive(socket, listening, options, admission)))
    }
  } catch (error) {
    await stop()
    throw error
  }
  return {
    port: servers.map(portOf).find((port) => port !== undefined),
    async close({ graceMs = 5_000 } = {}) {
      const stopped = stop()
      await admission.drain(graceMs)
      await stopped
    },
  }
}

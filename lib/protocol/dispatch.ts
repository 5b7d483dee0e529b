// Takes one request to its handler and words the reply. It owns the order: known type, permitted caller, valid body.
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import type { Log } from '../log.ts'
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
import { authorise, type Caller } from './transport/caller.ts'
import type { ServedRequest } from './transport/server-connection.ts'

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

export interface DispatchOptions {
  readonly role: Receiver
  readonly handlers: Handlers
  /** root and SlurmUser. */
  readonly trustedUids: readonly number[]
  readonly log: Log
}

type AnyHandler = (request: unknown, caller: Caller, context: CallContext) => Promise<unknown> | unknown

/** The XML of the reply. Rejects with the VmrmError that is to be told instead; logs it. */
export async function dispatch(options: DispatchOptions, request: ServedRequest): Promise<string> {
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

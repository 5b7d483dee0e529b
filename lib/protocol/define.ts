// What a message definition is, and who may send what: the one table of senders.
import type { z } from 'zod'

/** Who a message comes from. `hook` messages are taken from local sockets only. */
export type Sender = 'user' | 'administrator' | 'hook' | 'node' | 'controller'
/** The role of the vmrmd that answers it. */
export type Receiver = 'node' | 'controller'

/** Whom each sender must be: anyone, or root or SlurmUser; and over which transports its messages are taken. */
export const senderRules = {
  user: { callers: 'everyone', transports: ['local', 'munge'] },
  administrator: { callers: 'root-or-slurm', transports: ['local', 'munge'] },
  hook: { callers: 'root-or-slurm', transports: ['local'] },
  node: { callers: 'root-or-slurm', transports: ['local', 'munge'] },
  controller: { callers: 'root-or-slurm', transports: ['local', 'munge'] },
} as const satisfies Record<
  Sender,
  { callers: 'everyone' | 'root-or-slurm'; transports: readonly ('local' | 'munge')[] }
>

export interface CallDefinition<Request extends z.ZodObject = z.ZodObject, Reply extends z.ZodObject = z.ZodObject> {
  readonly kind: 'call'
  /** One sentence for the reference page. */
  readonly summary: string
  readonly from: readonly Sender[]
  readonly to: readonly Receiver[]
  readonly request: Request
  readonly reply: Reply
}

export interface EventDefinition<Body extends z.ZodObject = z.ZodObject> {
  readonly kind: 'event'
  readonly summary: string
  /** Whose vmrmd sends it, on a connection that subscribed. */
  readonly from: readonly Receiver[]
  readonly body: Body
}

/** A message that is answered: `request` and `reply` are strict objects of scalars, objects, list() and text(). */
export function defineCall<Request extends z.ZodObject, Reply extends z.ZodObject>(
  definition: Omit<CallDefinition<Request, Reply>, 'kind'>,
): CallDefinition<Request, Reply> {
  return { kind: 'call', ...definition }
}

/** A message that is sent to those who subscribed and that nobody answers. */
export function defineEvent<Body extends z.ZodObject>(
  definition: Omit<EventDefinition<Body>, 'kind'>,
): EventDefinition<Body> {
  return { kind: 'event', ...definition }
}

// The whole vocabulary, by type name, and the TypeScript types made from it.
import type { z } from 'zod'
import { batchMessages } from './messages/batch.ts'
import { controllerMessages } from './messages/controller.ts'
import { hookMessages } from './messages/hook.ts'
import { nodeMessages } from './messages/node.ts'
import { sessionMessages } from './messages/session.ts'
import { templateMessages } from './messages/template.ts'
import { userMessages } from './messages/user.ts'

export const messages = {
  ...hookMessages,
  ...userMessages,
  ...nodeMessages,
  ...controllerMessages,
  ...templateMessages,
  ...batchMessages,
  ...sessionMessages,
}

type Messages = typeof messages
export type MessageType = keyof Messages
export type CallType = { [T in MessageType]: Messages[T]['kind'] extends 'call' ? T : never }[MessageType]
export type EventType = { [T in MessageType]: Messages[T]['kind'] extends 'event' ? T : never }[MessageType]

/** What programs call; the rest is the transports' own. */
export type ProgramCallType = Exclude<CallType, keyof typeof sessionMessages>

/** What a parsed message is: frozen all the way down. */
export type Frozen<T> = T extends Uint8Array
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Frozen<Item>[]
    : T extends object
      ? { readonly [Key in keyof T]: Frozen<T[Key]> }
      : T

type OutputOf<S> = S extends z.ZodObject ? Frozen<z.output<S>> : never
export type RequestOf<T extends CallType> = OutputOf<Extract<Messages[T], { kind: 'call' }>['request']>
export type ReplyOf<T extends CallType> = OutputOf<Extract<Messages[T], { kind: 'call' }>['reply']>
export type EventOf<T extends EventType> = OutputOf<Extract<Messages[T], { kind: 'event' }>['body']>

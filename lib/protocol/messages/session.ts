// What the transports say themselves. Programs never send these.
import { z } from 'zod'
import { defineCall } from '../define.ts'
import { empty } from './common.ts'

/** 128 random bits: names one connection and is never used again. */
export const connectionName = z.string().regex(/^[0-9a-f]{32}$/)

export const sessionMessages = {
  greeting: defineCall({
    summary: 'First on a TCP connection: the reply gives the connection the name that all further messages carry.',
    from: ['user', 'node', 'controller'],
    to: ['controller', 'node'],
    request: empty,
    reply: z.strictObject({ name: connectionName }),
  }),
  'protocol-error': defineCall({
    summary:
      'Never sent by callers: as a failed reply with id 0, it tells a local caller why its connection is closed.',
    from: ['user'],
    to: ['controller', 'node'],
    request: empty,
    reply: empty,
  }),
}

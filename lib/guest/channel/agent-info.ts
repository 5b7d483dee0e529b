// What an agent says of itself when it answers a hello. Pure; all of it is a claim of the guest.
import { type Field, textOf, u64sOf } from '../frame/fields.ts'

const identityStates = ['fresh', 'template', 'identified'] as const

export interface AgentInfo {
  readonly bootId: string
  /** 'template': it waits for the identity of a copy. */
  readonly identity: (typeof identityStates)[number]
  readonly sessions: readonly bigint[]
  readonly agent: string
}

export function readAgentInfo(fields: readonly Field[]): AgentInfo {
  return {
    bootId: textOf(fields, 3) ?? '',
    identity: identityStates.find((state) => state === textOf(fields, 4)) ?? 'fresh',
    sessions: u64sOf(fields, 5),
    agent: textOf(fields, 6) ?? '',
  }
}

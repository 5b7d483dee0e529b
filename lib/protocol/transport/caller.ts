// Who asks, and whether that caller may: the only place that decides it.
import { VmrmError } from '../../errors/vmrm-error.ts'
import { type CallDefinition, type Receiver, senderRules } from '../define.ts'

export interface PeerCredentials {
  readonly uid: number
  readonly gid: number
  readonly pid: number
}

export type Caller =
  | { readonly from: 'local'; readonly uid: number; readonly gid: number; readonly pid: number }
  | {
      readonly from: 'munge'
      readonly uid: number
      readonly gid: number
      /** The name the sender gave itself: a node's (root or SlurmUser vouches for it), or `user`. */
      readonly host: string
    }

/** Throws `not-permitted` unless a sender that the definition names fits the caller, and `receiver` takes the message. */
export function authorise(options: {
  type: string
  definition: CallDefinition
  caller: Caller
  receiver: Receiver
  /** root and SlurmUser. */
  trustedUids: readonly number[]
}): void {
  const { type, definition, caller, receiver } = options
  if (!definition.to.includes(receiver)) {
    throw new VmrmError('not-permitted', `A ${receiver}'s vmrmd does not answer ${type}`)
  }
  const isTrusted = options.trustedUids.includes(caller.uid)
  const fits = definition.from.some((sender) => {
    const { callers, transports } = senderRules[sender]
    return transports.some((transport) => transport === caller.from) && (callers === 'everyone' || isTrusted)
  })
  if (!fits) throw new VmrmError('not-permitted', `uid ${caller.uid} may not send ${type} (${caller.from})`)
}

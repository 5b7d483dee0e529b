// What vmrmd asks of an agent for itself, and how the answers read: an identity taken on, a template made. It knows no socket; each
// request goes through `ask`, which waits for the frame of that type.
import { VmrmError } from '../../errors/vmrm-error.ts'
import { decodeFields, encodeFields, textOf, u32Field } from '../frame/fields.ts'
import { encodeFrame, type Frame, frameType, maxPayloadBytes } from '../frame/frame.ts'
import { encodeIdentity, type GuestIdentity } from './identity.ts'

export interface TemplateOptions {
  /** How long at most to wait until the guest's boot is over; default 20 s. */
  readonly restMs?: number
  /** A key made for this alone: with it the ssh server starts in the template already, and clones only give it theirs. */
  readonly sshHostKey?: string
}

export type Ask = (answerType: number, raw: Buffer) => Promise<Frame>

/** Contract: `GuestChannel.identify`. */
export async function askToIdentify(vm: string, identity: GuestIdentity, ask: Ask): Promise<string> {
  const payload = encodeIdentity(identity)
  if (payload.length > maxPayloadBytes) {
    throw new VmrmError('identity-failed', `The identity of ${vm} is too large: ${payload.length} bytes.`)
  }
  const frame = await ask(frameType.identityDone, encodeFrame({ type: frameType.identity, payload }))
  const text = complaintOf(frame)
  if (text !== undefined) {
    throw new VmrmError('identity-failed', `${vm} could not take on its identity.`, { quoted: text })
  }
  return textOf(decodeFields(frame.payload) ?? [], 2)?.slice(0, 256) ?? ''
}

/** Contract: `GuestChannel.prepareTemplate`. */
export async function askToBeTemplate(vm: string, options: TemplateOptions, ask: Ask): Promise<void> {
  const { restMs = 20_000, sshHostKey } = options
  const hostKey = sshHostKey === undefined ? [] : ([[2, sshHostKey]] as const)
  const payload = encodeFields([[1, u32Field(restMs)], ...hostKey])
  const frame = await ask(frameType.templateReady, encodeFrame({ type: frameType.template, payload }))
  const text = complaintOf(frame)
  if (text === undefined) return
  throw new VmrmError('template-failed', `${vm} cannot be a template.`, { quoted: text })
}

/** The sentence of an answer that says what went wrong. */
function complaintOf(frame: Frame): string | undefined {
  const fields = decodeFields(frame.payload)
  return fields === undefined ? 'the answer cannot be read' : textOf(fields, 1)
}

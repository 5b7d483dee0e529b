// What each side may send, by type: the guest and the users' vmrm-run are hostile until their frames fit these rules. Pure.
import { type Frame, frameType, maxPayloadBytes, streamNumber } from './frame.ts'

interface Rule {
  /** Whether the frame speaks of a task's session or is the daemon's own (session 0). */
  readonly owner: 'daemon' | 'session'
  readonly maxBytes: number
  readonly streams?: readonly number[]
}

const shortBytes = 256
const textBytes = 4096
const { stdin, stdout, stderr, spec } = streamNumber

const fromGuest: ReadonlyMap<number, Rule> = new Map<number, Rule>([
  [frameType.helloAck, { owner: 'daemon', maxBytes: 16_384 }],
  [frameType.ping, { owner: 'daemon', maxBytes: shortBytes }],
  [frameType.pong, { owner: 'daemon', maxBytes: shortBytes }],
  [frameType.identityDone, { owner: 'daemon', maxBytes: textBytes }],
  [frameType.opened, { owner: 'session', maxBytes: shortBytes }],
  [frameType.data, { owner: 'session', maxBytes: maxPayloadBytes, streams: [stdout, stderr] }],
  [frameType.ack, { owner: 'session', maxBytes: 0, streams: [stdin, spec] }],
  [frameType.exit, { owner: 'session', maxBytes: shortBytes }],
  [frameType.resume, { owner: 'session', maxBytes: shortBytes }],
  [frameType.error, { owner: 'session', maxBytes: textBytes }],
])

const fromClient: ReadonlyMap<number, Rule> = new Map<number, Rule>([
  [frameType.open, { owner: 'session', maxBytes: 0 }],
  [frameType.data, { owner: 'session', maxBytes: maxPayloadBytes, streams: [stdin, spec] }],
  [frameType.ack, { owner: 'session', maxBytes: 0, streams: [stdout, stderr] }],
  [frameType.signal, { owner: 'session', maxBytes: shortBytes }],
  [frameType.close, { owner: 'session', maxBytes: 0 }],
  [frameType.resume, { owner: 'session', maxBytes: shortBytes }],
  [frameType.resize, { owner: 'session', maxBytes: shortBytes }],
])

function breach(rules: ReadonlyMap<number, Rule>, frame: Frame): string | undefined {
  const rule = rules.get(frame.type)
  if (rule === undefined) return `a frame of type ${frame.type}`
  if (frame.payload.length > rule.maxBytes) return `a frame of type ${frame.type} with ${frame.payload.length} bytes`
  if ((frame.session === 0n) !== (rule.owner === 'daemon')) return `a frame of type ${frame.type} for a wrong session`
  if (rule.streams !== undefined && !rule.streams.includes(frame.stream)) {
    return `a frame of type ${frame.type} for stream ${frame.stream}`
  }
  return undefined
}

/** What is wrong with a frame from an agent, as words for the log; undefined when it is allowed. */
export const guestBreach = (frame: Frame): string | undefined => breach(fromGuest, frame)

/** The same for a frame from an attached client. */
export const clientBreach = (frame: Frame): string | undefined => breach(fromClient, frame)

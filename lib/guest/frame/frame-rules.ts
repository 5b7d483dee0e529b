// What each side may send, by type: the guest and the users' vmrm-run are hostile until their frames fit these rules. Pure.
import { type Frame, frameType, maxPayloadBytes, streamNumber } from './frame.ts'

interface Rule {
  /** Whether the frame speaks of a task's session or is the daemon's own (session 0). */
  readonly owner: 'daemon' | 'session'
  readonly maxBytes: number
  readonly streams?: readonly number[]
}

const shortBytes = 256
const resumeBytes = 512
const textBytes = 4096
const { stdin, stdout, stderr, spec, wireIn, wireOut } = streamNumber

type Rules = ReadonlyMap<number, Rule>

/** Who runs a command: the agent for a task, vmrm-run's server for a call. */
const fromRunner: Rules = new Map<number, Rule>([
  [frameType.opened, { owner: 'session', maxBytes: shortBytes }],
  [frameType.data, { owner: 'session', maxBytes: maxPayloadBytes, streams: [stdout, stderr, wireOut] }],
  [frameType.ack, { owner: 'session', maxBytes: 0, streams: [stdin, spec, wireIn] }],
  [frameType.exit, { owner: 'session', maxBytes: shortBytes }],
  [frameType.resume, { owner: 'session', maxBytes: resumeBytes }],
  [frameType.error, { owner: 'session', maxBytes: textBytes }],
])

/** Who has a command run: vmrm-run for a task, a process in the guest for a call. */
const fromAsker: Rules = new Map<number, Rule>([
  [frameType.open, { owner: 'session', maxBytes: 0 }],
  [frameType.data, { owner: 'session', maxBytes: maxPayloadBytes, streams: [stdin, spec, wireIn] }],
  [frameType.ack, { owner: 'session', maxBytes: 0, streams: [stdout, stderr, wireOut] }],
  [frameType.signal, { owner: 'session', maxBytes: shortBytes }],
  [frameType.close, { owner: 'session', maxBytes: 0 }],
  [frameType.resume, { owner: 'session', maxBytes: resumeBytes }],
  [frameType.resize, { owner: 'session', maxBytes: shortBytes }],
])

const fromCaller: Rules = new Map<number, Rule>([
  ...fromAsker,
  [frameType.release, { owner: 'session', maxBytes: shortBytes }],
])

const fromServer: Rules = new Map<number, Rule>([
  ...fromRunner,
  [frameType.signal, { owner: 'session', maxBytes: shortBytes }],
  [frameType.held, { owner: 'session', maxBytes: maxPayloadBytes }],
])

/** What the agent says for itself, and about a task. */
const fromAgent: Rules = new Map<number, Rule>([
  ...fromRunner,
  [frameType.helloAck, { owner: 'daemon', maxBytes: 16_384 }],
  [frameType.ping, { owner: 'daemon', maxBytes: shortBytes }],
  [frameType.pong, { owner: 'daemon', maxBytes: shortBytes }],
  [frameType.identityDone, { owner: 'daemon', maxBytes: textBytes }],
  [frameType.templateReady, { owner: 'daemon', maxBytes: textBytes }],
  [frameType.call, { owner: 'session', maxBytes: shortBytes }],
])

function breach(rules: Rules, frame: Frame): string | undefined {
  const rule = rules.get(frame.type)
  if (rule === undefined) return `a frame of type ${frame.type}`
  if (frame.payload.length > rule.maxBytes) return `a frame of type ${frame.type} with ${frame.payload.length} bytes`
  if ((frame.session === 0n) !== (rule.owner === 'daemon')) return `a frame of type ${frame.type} for a wrong session`
  if (rule.streams !== undefined && !rule.streams.includes(frame.stream)) {
    return `a frame of type ${frame.type} for stream ${frame.stream}`
  }
  return undefined
}

/** What is wrong with a frame from a guest, whatever session it is for, as words for the log; undefined when it is allowed. */
export function guestBreach(frame: Frame): string | undefined {
  return breach(fromCaller, frame) === undefined ? undefined : breach(fromAgent, frame)
}

/** The same for a frame of a session that is known: a task's or a call's. */
export function guestSessionBreach(frame: Frame, kind: 'task' | 'call'): string | undefined {
  return breach(kind === 'task' ? fromAgent : fromCaller, frame)
}

/** The same for a frame from an attached client: a task's vmrm-run, or the server of a call. */
export function clientBreach(frame: Frame, kind: 'task' | 'server'): string | undefined {
  return breach(kind === 'task' ? fromAsker : fromServer, frame)
}

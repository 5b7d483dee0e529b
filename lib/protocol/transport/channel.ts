// The ports between connections and how a transport wraps messages; and the plain one, for local sockets.
import { frameLimitBytes } from '../limits.ts'
import { parseXml, type XmlElement } from '../xml/parse.ts'
import type { Caller } from './caller.ts'

/** One end of a connection. Its user opens frames one at a time, in order, and sends sealed ones in order too. */
export interface ServerChannel {
  /** Of one message's XML. */
  readonly limitBytes: number
  /** Whether a caller that does not follow the protocol is told so before the connection ends. */
  readonly faults: 'answer' | 'close'
  /**
   * What a frame holds: a message and who sent it, or a frame to send back, where the channel itself was meant.
   * Throws when the frame cannot be trusted: the connection is over then, since no answer would be safe.
   */
  open(frame: Buffer): Promise<OpenedFrame>
  seal(xml: string): Promise<Uint8Array>
}

export type OpenedFrame =
  | { readonly kind: 'message'; readonly root: XmlElement; readonly caller: Caller }
  | { readonly kind: 'answered'; readonly answer: Uint8Array; readonly caller: Caller }

export interface ClientChannel {
  /** Of one message's XML. */
  readonly limitBytes: number
  /** What must be exchanged before the first message, where there is such a thing. */
  readonly greeting?: { request(): Promise<Uint8Array>; accept(frame: Buffer): Promise<void> }
  open(frame: Buffer): Promise<XmlElement>
  seal(xml: string): Promise<Uint8Array>
}

/** Local sockets carry plain XML; the kernel has said who is there. */
export function plainServerChannel(caller: Caller): ServerChannel {
  return {
    limitBytes: frameLimitBytes,
    faults: 'answer',
    open: async (frame) => ({ kind: 'message', root: parseXml(frame), caller }),
    seal: async (xml) => Buffer.from(xml),
  }
}

export function plainClientChannel(): ClientChannel {
  return { limitBytes: frameLimitBytes, open: async (frame) => parseXml(frame), seal: async (xml) => Buffer.from(xml) }
}

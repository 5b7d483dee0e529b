// Both ends of a TCP connection whose messages are MUNGE credentials: greeting, names, sequences, and who is believed.
// MUNGE remembers replays per host only, so every message names its connection, direction, place and destination.
import { randomBytes } from 'node:crypto'
import { VmrmError } from '../../errors/vmrm-error.ts'
import type { MungeOptions } from '../../munge/client.ts'
import { knownEnvelope, readBody, readEnvelope, writeMessage } from '../envelope.ts'
import { invalid } from '../invalid.ts'
import { sealedMessageLimitBytes } from '../limits.ts'
import type { Caller } from './caller.ts'
import type { ClientChannel, OpenedFrame, ServerChannel } from './channel.ts'
import { checkSeal, type Seal, sealMessage, type Unsealed, unsealMessage } from './sealed.ts'

/** The name of every sender that is no node's or controller's daemon. */
export const userName = 'user'
const nameBytes = 16

export interface MungeEnd {
  /** This side's name: a node's name, `controller` or `user`. */
  readonly name: string
  /** The uid this process decodes as. */
  readonly ownUid: number
  readonly munge: MungeOptions
}

export interface MungeServerEnd extends MungeEnd {
  /** root and SlurmUser: only they may speak in the name of a node or the controller. */
  readonly trustedUids: readonly number[]
}

export interface MungeClientEnd extends MungeEnd {
  /** The name of the daemon that must answer. */
  readonly to: string
  /** The uid of that daemon, which alone can open what is sent. */
  readonly receiverUid: number
  /** Who may have made a reply: root and SlurmUser. */
  readonly trustedUids: readonly number[]
}

/** Names and numbers of one connection, from the side of whoever holds it. */
class SealState {
  connection = ''
  #sent = 0
  #received = 0

  next(fields: Pick<Seal, 'to' | 'from' | 'direction'>): Seal {
    const seal = { ...fields, connection: this.connection, sequence: this.#sent }
    this.#sent += 1
    return seal
  }

  check(seal: Seal, fields: Pick<Seal, 'to' | 'from' | 'direction'>): void {
    checkSeal(seal, { ...fields, connection: this.connection, sequence: this.#received })
    this.#received += 1
  }
}

/** The server's end: the first frame must ask for the greeting; everything after comes from the same uid and name. */
class MungeServerChannel implements ServerChannel {
  readonly limitBytes = sealedMessageLimitBytes
  readonly faults = 'close'
  readonly #end: MungeServerEnd
  readonly #state = new SealState()
  #caller: (Caller & { from: 'munge' }) | undefined

  constructor(end: MungeServerEnd) {
    this.#end = end
  }

  async open(frame: Buffer): Promise<OpenedFrame> {
    const opened = await unsealMessage(frame, this.#end)
    if (this.#caller === undefined) return this.#greet(opened)
    this.#state.check(opened.seal, { to: this.#end.name, from: this.#caller.host, direction: 'request' })
    if (opened.uid !== this.#caller.uid || opened.gid !== this.#caller.gid) {
      throw invalid('sealed', 'the credential is of another user than the connection')
    }
    return { kind: 'message', root: opened.root, caller: this.#caller }
  }

  async seal(xml: string): Promise<Buffer> {
    const caller = this.#caller
    if (caller === undefined) throw new VmrmError('internal', 'A reply was to be sealed before the greeting')
    const seal = this.#state.next({ to: caller.host, from: this.#end.name, direction: 'reply' })
    return sealMessage(xml, { seal, receiverUid: caller.uid, munge: this.#end.munge })
  }

  async #greet({ seal, root, uid, gid }: Unsealed): Promise<OpenedFrame> {
    this.#state.connection = seal.connection
    this.#state.check(seal, { to: this.#end.name, from: seal.from, direction: 'request' })
    if (seal.from !== userName && !this.#end.trustedUids.includes(uid)) {
      throw new VmrmError('not-permitted', `uid ${uid} may not speak for ${seal.from}`)
    }
    const envelope = knownEnvelope(readEnvelope(root))
    if (envelope.type !== 'greeting' || envelope.kind !== 'request') throw invalid('vmrm', 'a greeting must come first')
    readBody(root, envelope)
    const caller = { from: 'munge', uid, gid, host: seal.from } as const
    this.#caller = caller
    const name = randomBytes(nameBytes).toString('hex')
    const answer = await this.seal(writeMessage({ ...envelope, kind: 'reply' }, { name }))
    this.#state.connection = name
    return { kind: 'answered', answer, caller }
  }
}

/** The client's end: names a nonce, which the greeting must echo, then uses the name the server chose. */
class MungeClientChannel implements ClientChannel {
  readonly limitBytes = sealedMessageLimitBytes
  readonly #end: MungeClientEnd
  readonly #state = new SealState()
  readonly greeting = { request: () => this.#ask(), accept: (frame: Buffer) => this.#accept(frame) }

  constructor(end: MungeClientEnd) {
    this.#end = end
  }

  async open(frame: Buffer) {
    const { seal, root, uid } = await unsealMessage(frame, this.#end)
    this.#state.check(seal, { to: this.#end.name, from: this.#end.to, direction: 'reply' })
    if (!this.#end.trustedUids.includes(uid)) {
      throw new VmrmError('not-permitted', `uid ${uid} may not answer in the name of ${this.#end.to}`)
    }
    return root
  }

  async seal(xml: string): Promise<Buffer> {
    const { name, to, receiverUid, munge } = this.#end
    const seal = this.#state.next({ to, from: name, direction: 'request' })
    return sealMessage(xml, { seal, receiverUid, munge })
  }

  #ask(): Promise<Buffer> {
    this.#state.connection = randomBytes(nameBytes).toString('hex')
    return this.seal(writeMessage({ id: 0, kind: 'request', type: 'greeting' }, {}))
  }

  async #accept(frame: Buffer): Promise<void> {
    const root = await this.open(frame)
    const envelope = knownEnvelope(readEnvelope(root))
    if (envelope.type !== 'greeting' || envelope.kind !== 'reply')
      throw invalid('vmrm', 'the first reply is no greeting')
    this.#state.connection = (readBody(root, envelope) as { name: string }).name
  }
}

export function mungeServerChannel(end: MungeServerEnd): ServerChannel {
  return new MungeServerChannel(end)
}

export function mungeClientChannel(end: MungeClientEnd): ClientChannel {
  return new MungeClientChannel(end)
}

// One message inside one MUNGE credential: `<sealed …><vmrm …/></sealed>`. It owns what a seal says and that it must
// fit; who keeps count of sequences and names is seal-state's matter.
import { z } from 'zod'
import { type MungeOptions, mungeDecode, mungeEncode } from '../../munge/client.ts'
import { invalid, quote } from '../invalid.ts'
import { frameLimitBytes } from '../limits.ts'
import { hostName } from '../messages/common.ts'
import { connectionName } from '../messages/session.ts'
import { checkFields } from '../schema/check.ts'
import { readElement, writeElement } from '../schema/map.ts'
import { elementShape } from '../schema/shape.ts'
import { parseXml, type XmlElement } from '../xml/parse.ts'

const sealSchema = z.strictObject({
  version: z.literal('1'),
  /** Whom it is meant for: a node's name, `controller` or `user`. */
  to: hostName,
  from: hostName,
  direction: z.enum(['request', 'reply']),
  /** Counts the messages of one direction of a connection; the greeting is 0. */
  sequence: z.int().min(0),
  connection: connectionName,
})
const sealShape = elementShape(sealSchema, 'sealed')

export type Seal = Readonly<Omit<z.output<typeof sealSchema>, 'version'>>

export interface Unsealed {
  readonly seal: Seal
  readonly root: XmlElement
  /** Who made the credential. */
  readonly uid: number
  readonly gid: number
}

/** A credential that only `receiverUid` can open. Throws `message-invalid` when it is too large, or a `munge-` code. */
export async function sealMessage(
  xml: string,
  options: { seal: Seal; receiverUid: number; munge: MungeOptions },
): Promise<Buffer> {
  const value = checkFields(sealSchema, { version: '1', ...options.seal }, 'sealed')
  const empty = writeElement({ name: 'sealed', shape: sealShape, value, where: 'sealed' })
  const payload = Buffer.from(`${empty.slice(0, -'/>'.length)}>${xml}</sealed>`)
  if (payload.length > frameLimitBytes) throw invalid('sealed', `${payload.length} bytes are too many`)
  const credential = await mungeEncode({ ...options.munge, payload, uidRestriction: options.receiverUid })
  return Buffer.from(credential, 'latin1')
}

/**
 * What is in a credential. Refuses one that others than `ownUid` could have opened: its content would be no secret and
 * could have been taken from another receiver.
 */
export async function unsealMessage(
  credential: Buffer,
  options: { ownUid: number; munge: MungeOptions },
): Promise<Unsealed> {
  const decoded = await mungeDecode(credential.toString('latin1'), options.munge)
  if (decoded.uidRestriction !== options.ownUid) {
    throw invalid('sealed', `the credential is not restricted to uid ${options.ownUid}`)
  }
  const element = parseXml(decoded.payload)
  if (element.name !== 'sealed') throw invalid(element.name, 'the root element is not sealed')
  const fields = readElement(sealShape, { ...element, children: [] }, 'sealed')
  const { version: _, ...seal } = checkFields(sealSchema, fields, 'sealed')
  const [root] = element.children
  if (root === undefined || element.children.length !== 1) throw invalid('sealed', 'it does not hold one message')
  return { seal, root, uid: decoded.uid, gid: decoded.gid }
}

/** Throws `message-invalid` unless every field of the seal is the expected one. */
export function checkSeal(seal: Seal, expected: Seal): void {
  for (const name of ['connection', 'direction', 'to', 'from', 'sequence'] as const) {
    if (seal[name] !== expected[name]) {
      throw invalid(`sealed/@${name}`, `it is ${quote(String(seal[name]))}, not ${quote(String(expected[name]))}`)
    }
  }
}

// The <vmrm> element around every message. It owns version, id, kind and type; the body is the definition's.
import assert from 'node:assert'
import { z } from 'zod'
import type { VmrmError } from '../errors/vmrm-error.ts'
import { errorFields, errorFromFields, errorSchema, errorShape } from './error-element.ts'
import { invalid, quote } from './invalid.ts'
import { type MessageType, messages } from './messages.ts'
import { nearestName } from './nearest.ts'
import { checkFields } from './schema/check.ts'
import { readElement, writeElement } from './schema/map.ts'
import { type ElementShape, elementShape } from './schema/shape.ts'
import type { XmlElement } from './xml/parse.ts'

export const protocolVersion = '1'
export type MessageKind = 'request' | 'reply' | 'event'

/** What a message says of itself, whatever its type. */
export interface AnyEnvelope {
  /** Pairs a reply (or an event of a subscription) with its request; chosen by who asks. */
  readonly id: number
  readonly kind: MessageKind
  /** A name, not necessarily one this side knows: a newer peer may have more. */
  readonly type: string
}

export interface Envelope extends AnyEnvelope {
  readonly type: MessageType
}

const envelopeSchema = z.strictObject({
  version: z.literal(protocolVersion),
  id: z.int().min(0),
  kind: z.enum(['request', 'reply', 'event']),
  type: z.string().regex(/^[a-z][a-z0-9-]{0,63}$/),
})
const envelopeShape = elementShape(envelopeSchema, 'vmrm')
const reserved = envelopeShape.attributes.map((attribute) => attribute.name)

function bodySchema(type: MessageType, kind: MessageKind): z.ZodObject | undefined {
  const definition = messages[type]
  if (definition.kind === 'event') return kind === 'event' ? definition.body : undefined
  return kind === 'request' ? definition.request : kind === 'reply' ? definition.reply : undefined
}

const shapes = new Map<z.ZodObject, ElementShape>()

/** The layout of a body; made once. Refuses definitions that clash with the envelope. */
export function bodyShape(schema: z.ZodObject, type: string): ElementShape {
  let shape = shapes.get(schema)
  if (shape === undefined) {
    shape = elementShape(schema, type)
    assert(!shape.attributes.some(({ name }) => reserved.includes(name)), `${type}: a field is named as the envelope's`)
    assert(!shape.children.some(({ name }) => name === 'error'), `${type}: an element is named error`)
    shapes.set(schema, shape)
  }
  return shape
}

function schemaAndShape({ kind, type }: Envelope): { schema: z.ZodObject; shape: ElementShape } {
  const schema = bodySchema(type, kind)
  if (schema === undefined) throw invalid('vmrm', `${type} is no ${kind}`)
  return { schema, shape: bodyShape(schema, type) }
}

function envelopeText({ id, kind, type }: AnyEnvelope): string {
  return ` version="${protocolVersion}" id="${id}" kind="${kind}" type="${type}"`
}

/** The XML of a message. Throws `message-invalid` when the body does not follow its definition. */
export function writeMessage(envelope: Envelope, body: unknown): string {
  const { schema, shape } = schemaAndShape(envelope)
  const where = `vmrm[${envelope.type}]`
  // A copy, since checking freezes: the caller's own object stays as it is.
  const value = checkFields(schema, structuredClone(body), where)
  return writeElement({ name: 'vmrm', shape, value, where, before: envelopeText(envelope) })
}

/** The XML of a failed reply. */
export function writeError(envelope: Omit<AnyEnvelope, 'kind'>, error: VmrmError): string {
  const content = writeElement({ name: 'error', shape: errorShape, value: errorFields(error), where: 'error' })
  return `<vmrm${envelopeText({ ...envelope, kind: 'reply' })}>${content}</vmrm>`
}

/** Reads the envelope alone, so that an unknown type or a bad body can still be answered. Throws `message-invalid`. */
export function readEnvelope(root: XmlElement): AnyEnvelope {
  if (root.name !== 'vmrm') throw invalid(root.name, 'the root element is not vmrm')
  const version = root.attributes.get('version')
  if (version !== protocolVersion) {
    throw invalid('vmrm', `the version is ${quote(version ?? '')}, this side speaks ${protocolVersion}`)
  }
  const own = new Map([...root.attributes].filter(([name]) => reserved.includes(name)))
  const fields = readElement(envelopeShape, { ...root, attributes: own, children: [], text: '' }, 'vmrm')
  const { id, kind, type } = checkFields(envelopeSchema, fields, 'vmrm')
  return { id, kind, type }
}

/** The envelope of a type this side knows. Throws `message-invalid`, naming the nearest one it knows. */
export function knownEnvelope(envelope: AnyEnvelope): Envelope {
  const { type } = envelope
  if (!Object.hasOwn(messages, type)) {
    const nearest = nearestName(type, Object.keys(messages))
    throw invalid('vmrm', `unknown message type ${quote(type)}; did you mean ${nearest}?`)
  }
  return { ...envelope, type: type as MessageType }
}

/** The body of a message, typed and frozen. Throws `message-invalid`; for a failed reply, the error it carries. */
export function readBody(root: XmlElement, envelope: Envelope): unknown {
  const where = `vmrm[${envelope.type}]`
  const failure = envelope.kind === 'reply' ? root.children.find((child) => child.name === 'error') : undefined
  if (failure !== undefined) {
    const fields = readElement(errorShape, failure, `${where}/error`)
    throw errorFromFields(checkFields(errorSchema, fields, `${where}/error`))
  }
  const { schema, shape } = schemaAndShape(envelope)
  const rest = new Map([...root.attributes].filter(([name]) => !reserved.includes(name)))
  return checkFields(schema, readElement(shape, { ...root, attributes: rest }, where), where)
}

// Reads a zod schema once and says how it is laid out in XML: the mapper and the generated RELAX NG both follow this,
// so that they cannot disagree. A schema it cannot lay out is a mistake of ours and stops the program at start.
import assert from 'node:assert'
import { z } from 'zod'
import { layouts } from './fields.ts'

export type Scalar =
  | {
      readonly type: 'string'
      readonly patterns: readonly RegExp[]
      readonly minimum?: number
      readonly maximum?: number
    }
  | { readonly type: 'choice'; readonly values: readonly string[] }
  | { readonly type: 'integer' | 'bigint'; readonly minimum?: bigint; readonly maximum?: bigint }
  | { readonly type: 'boolean' }
  | { readonly type: 'bytes'; readonly maximum: number }

export type Presence = 'required' | 'optional'

export interface AttributeShape {
  readonly field: string
  readonly name: string
  readonly scalar: Scalar
  readonly presence: Presence
}

export interface ChildShape {
  readonly field: string
  readonly name: string
  readonly occurs: Presence | 'many'
  /** Of a list: whether one without elements is the same as none. */
  readonly mayBeAbsent?: boolean
  /** An element of its own, or (in lists) a scalar that is the element's text. */
  readonly content: ElementShape | Scalar
}

export interface ElementShape {
  readonly attributes: readonly AttributeShape[]
  readonly children: readonly ChildShape[]
  readonly text: { readonly field: string; readonly scalar: Scalar; readonly presence: Presence } | undefined
}

export function isElementShape(content: ElementShape | Scalar): content is ElementShape {
  return 'attributes' in content
}

/** `memoryMib` is `memory-mib` in XML. */
export function xmlName(field: string): string {
  return field.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

type Check = { readonly check: string; readonly pattern?: RegExp; readonly format?: string; readonly value?: unknown }

function checksOf(schema: z.ZodType): readonly Check[] {
  const own = schema._zod.def as unknown as Check
  const more = (schema._zod.def.checks ?? []).map((check) => check._zod.def as unknown as Check)
  return [own, ...more]
}

function stringShape(schema: z.ZodString | z.ZodStringFormat): Scalar {
  const patterns = checksOf(schema).flatMap((check) => (check.pattern === undefined ? [] : [check.pattern]))
  return {
    type: 'string',
    patterns,
    ...(schema.minLength === null ? {} : { minimum: schema.minLength }),
    ...(schema.maxLength === null ? {} : { maximum: schema.maxLength }),
  }
}

function bounds(minimum: number | bigint | null, maximum: number | bigint | null) {
  return {
    ...(minimum === null ? {} : { minimum: BigInt(minimum) }),
    ...(maximum === null ? {} : { maximum: BigInt(maximum) }),
  }
}

function scalarShape(schema: z.ZodType, where: string): Scalar {
  const layout = layouts.get(schema)
  if (layout?.as === 'bytes') return { type: 'bytes', maximum: layout.limitBytes }
  if (schema instanceof z.ZodEnum) return { type: 'choice', values: schema.options.map(String) }
  if (schema instanceof z.ZodLiteral) return { type: 'choice', values: [...schema.values].map(String) }
  if (schema instanceof z.ZodBoolean) return { type: 'boolean' }
  if (schema instanceof z.ZodString || schema instanceof z.ZodStringFormat) return stringShape(schema)
  if (schema instanceof z.ZodBigInt)
    return { type: 'bigint', ...bounds(schema.minValue ?? null, schema.maxValue ?? null) }
  if (schema instanceof z.ZodNumber) {
    assert(schema.isInt, `${where}: numbers in messages are integers`)
    return { type: 'integer', ...bounds(schema.minValue, schema.maxValue) }
  }
  return assert.fail(`${where}: ${schema._zod.def.type} has no place in a message`)
}

function unwrap(schema: z.ZodType): { inner: z.ZodType; presence: Presence } {
  const mayBeLeftOut =
    schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault
  if (mayBeLeftOut) return { inner: unwrap(schema.unwrap() as z.ZodType).inner, presence: 'optional' }
  return { inner: schema, presence: 'required' }
}

function listShape(field: string, schema: z.ZodArray, where: string): ChildShape {
  const layout = layouts.get(schema)
  assert(layout?.as === 'list', `${where}: an array needs list(), which names its elements`)
  const item = schema.element as z.ZodType
  const content = isElementSchema(item) ? elementShape(item, where) : scalarShape(item, where)
  return { field, name: layout.element, occurs: 'many', content }
}

type ElementSchema = z.ZodObject | z.ZodDiscriminatedUnion

function isElementSchema(schema: z.ZodType): schema is ElementSchema {
  return schema instanceof z.ZodObject || schema instanceof z.ZodDiscriminatedUnion
}

/** One element for all options: what not every option requires is optional here, and zod says which option needs what. */
function unionShape(schema: z.ZodDiscriminatedUnion, where: string): ElementShape {
  const options = (schema.options as readonly z.ZodObject[]).map((option) => elementShape(option, where))
  const merge = <T extends AttributeShape | ChildShape>(all: readonly (readonly T[])[]): T[] => {
    const byName = new Map<string, T>()
    for (const shape of all.flat()) byName.set(shape.name, byName.get(shape.name) ?? shape)
    return [...byName.values()].map((shape) =>
      all.every((one) => one.some((other) => other.name === shape.name)) ? shape : loosened(shape),
    )
  }
  const attributes = merge(options.map((option) => option.attributes)).map((attribute) =>
    attribute.field === schema.def.discriminator ? { ...attribute, scalar: choiceOf(options, attribute) } : attribute,
  )
  return { attributes, children: merge(options.map((option) => option.children)), text: undefined }
}

function loosened<T extends AttributeShape | ChildShape>(shape: T): T {
  if ('presence' in shape) return { ...shape, presence: 'optional' }
  return shape.occurs === 'many' ? shape : { ...shape, occurs: 'optional' }
}

function choiceOf(options: readonly ElementShape[], attribute: AttributeShape): Scalar {
  const scalars = options.flatMap((option) => option.attributes.filter((one) => one.name === attribute.name))
  return { type: 'choice', values: scalars.flatMap(({ scalar }) => (scalar.type === 'choice' ? scalar.values : [])) }
}

/** How an object is laid out as an element: scalars are attributes, objects and lists children, text() its text. */
export function elementShape(schema: ElementSchema, where = ''): ElementShape {
  if (schema instanceof z.ZodDiscriminatedUnion) return unionShape(schema, where)
  const attributes: AttributeShape[] = []
  const children: ChildShape[] = []
  let text: ElementShape['text']
  for (const [field, fieldSchema] of Object.entries(schema.shape as Record<string, z.ZodType>)) {
    const place = `${where}/${field}`
    const { inner, presence } = unwrap(fieldSchema)
    const name = xmlName(field)
    if (isElementSchema(inner)) {
      children.push({ field, name, occurs: presence, content: elementShape(inner, place) })
    } else if (inner instanceof z.ZodArray) {
      children.push({ ...listShape(field, inner, place), mayBeAbsent: presence === 'optional' })
    } else if (layouts.get(inner)?.as === 'text') {
      assert(text === undefined, `${place}: an element has one text`)
      text = { field, scalar: scalarShape(inner, place), presence }
    } else {
      attributes.push({ field, name, scalar: scalarShape(inner, place), presence })
    }
  }
  assert(text === undefined || children.length === 0, `${where}: an element has text or children, not both`)
  const names = children.map((child) => child.name)
  assert(new Set(names).size === names.length, `${where}: two fields have elements of the same name`)
  return { attributes, children, text }
}

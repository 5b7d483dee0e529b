// Elements to values and back, guided by a shape. It checks names and spelling; the values themselves are zod's.
import { invalid } from '../invalid.ts'
import { nearestName } from '../nearest.ts'
import type { XmlElement } from '../xml/parse.ts'
import { escapeXml } from '../xml/text.ts'
import { readScalar, writeScalar } from './scalar.ts'
import { type ChildShape, type ElementShape, isElementShape } from './shape.ts'

type Fields = Record<string, unknown>

function unknownName(options: { what: string; name: string; valid: readonly string[]; where: string }): Error {
  const nearest = nearestName(options.name, options.valid)
  const help = nearest === undefined ? `there are no ${options.what}s here` : `did you mean ${nearest}?`
  return invalid(options.where, `unknown ${options.what} ${options.name}; ${help}`)
}

function readAttributes(shape: ElementShape, element: XmlElement, where: string, into: Fields): void {
  const byName = new Map(shape.attributes.map((attribute) => [attribute.name, attribute]))
  for (const [name, raw] of element.attributes) {
    const attribute = byName.get(name)
    if (attribute === undefined) throw unknownName({ what: 'attribute', name, valid: [...byName.keys()], where })
    into[attribute.field] = readScalar(attribute.scalar, raw, `${where}/@${name}`)
  }
  for (const { field, name, presence } of shape.attributes) {
    if (presence === 'required' && !(field in into)) throw invalid(where, `the attribute ${name} is missing`)
  }
}

function readChild(child: ChildShape, element: XmlElement, where: string): unknown {
  if (isElementShape(child.content)) return readElement(child.content, element, where)
  const [attribute] = element.attributes.keys()
  if (attribute !== undefined) throw unknownName({ what: 'attribute', name: attribute, valid: [], where })
  const [inner] = element.children
  if (inner !== undefined) throw unknownName({ what: 'element', name: inner.name, valid: [], where })
  return readScalar(child.content, element.text, where)
}

function listIn(into: Fields, field: string): unknown[] {
  const found = (into[field] as unknown[] | undefined) ?? []
  into[field] = found
  return found
}

function readChildren(shape: ElementShape, element: XmlElement, where: string, into: Fields): void {
  const byName = new Map(shape.children.map((child) => [child.name, child]))
  for (const { field, occurs, mayBeAbsent } of shape.children)
    if (occurs === 'many' && mayBeAbsent !== true) into[field] = []
  for (const inner of element.children) {
    const child = byName.get(inner.name)
    if (child === undefined) {
      throw unknownName({ what: 'element', name: inner.name, valid: [...byName.keys()], where })
    }
    const value = readChild(child, inner, `${where}/${inner.name}`)
    if (child.occurs === 'many') listIn(into, child.field).push(value)
    else if (child.field in into) throw invalid(where, `the element ${inner.name} stands there twice`)
    else into[child.field] = value
  }
  for (const { field, name, occurs } of shape.children) {
    if (occurs === 'required' && !(field in into)) throw invalid(where, `the element ${name} is missing`)
  }
}

/** The fields an element spells, not yet checked by zod. Throws `message-invalid`, naming the place. */
export function readElement(shape: ElementShape, element: XmlElement, where: string): Fields {
  const into: Fields = {}
  readAttributes(shape, element, where, into)
  readChildren(shape, element, where, into)
  if (shape.text === undefined) {
    if (element.text.trim() !== '') throw invalid(where, 'there is text where none belongs')
  } else if (element.text !== '' || shape.text.presence === 'required') {
    into[shape.text.field] = readScalar(shape.text.scalar, element.text, where)
  }
  return into
}

function writeChild(child: ChildShape, value: unknown, where: string): string {
  const place = `${where}/${child.name}`
  if (isElementShape(child.content))
    return writeElement({ name: child.name, shape: child.content, value, where: place })
  return `<${child.name}>${escapeXml(writeScalar(value), place, 'text')}</${child.name}>`
}

/** The element that spells fields which zod has checked. Throws `message-invalid` for characters XML cannot carry. */
export function writeElement(options: {
  name: string
  shape: ElementShape
  value: unknown
  where: string
  /** Attributes (already escaped, with a leading space) before the fields' own. */
  before?: string
}): string {
  const { name, shape, where } = options
  const fields = options.value as Fields
  let start = `<${name}${options.before ?? ''}`
  for (const attribute of shape.attributes) {
    const value = fields[attribute.field]
    if (value === undefined) continue
    start += ` ${attribute.name}="${escapeXml(writeScalar(value), `${where}/@${attribute.name}`, 'attribute')}"`
  }
  let content = ''
  for (const child of shape.children) {
    const value = fields[child.field]
    // A list may be optional: none is an empty one.
    const values = value === undefined ? [] : child.occurs === 'many' ? (value as unknown[]) : [value]
    for (const one of values) content += writeChild(child, one, where)
  }
  const text = shape.text === undefined ? undefined : fields[shape.text.field]
  if (text !== undefined) content += escapeXml(writeScalar(text), where, 'text')
  return content === '' ? `${start}/>` : `${start}>${content}</${name}>`
}

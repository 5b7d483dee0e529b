// The vocabulary as RELAX NG (XML syntax), from the same shapes that the mapper follows. Pure.
import type { z } from 'zod'
import { bodyShape } from '../envelope.ts'
import { errorShape } from '../error-element.ts'
import { messages } from '../messages.ts'
import { type ElementShape, isElementShape, type Scalar } from '../schema/shape.ts'
import { escapeXml } from '../xml/text.ts'

const head = `<?xml version="1.0" encoding="UTF-8"?>
<!-- Made by lib/protocol/generate/main.ts from the definitions in lib/protocol/messages; do not edit. -->
<grammar xmlns="http://relaxng.org/ns/structure/1.0" datatypeLibrary="http://www.w3.org/2001/XMLSchema-datatypes">
`

function param(name: string, value: string | number | bigint | undefined): string {
  return value === undefined ? '' : `<param name="${name}">${escapeXml(String(value), name, 'text')}</param>`
}

/** XML Schema's patterns are anchored by themselves and know no (?:…). */
function xsdPattern(pattern: RegExp): string {
  return pattern.source.replace(/^\^/, '').replace(/\$$/, '').replaceAll('(?:', '(')
}

function scalarPattern(scalar: Scalar): string {
  switch (scalar.type) {
    case 'string': {
      const patterns = scalar.patterns.map((pattern) => param('pattern', xsdPattern(pattern))).join('')
      const bounds = param('minLength', scalar.minimum) + param('maxLength', scalar.maximum)
      return `<data type="string">${bounds}${patterns}</data>`
    }
    case 'choice':
      return `<choice>${scalar.values.map((value) => `<value type="string">${value}</value>`).join('')}</choice>`
    case 'integer':
    case 'bigint': {
      const bounds = param('minInclusive', scalar.minimum) + param('maxInclusive', scalar.maximum)
      return `<data type="integer">${bounds}<param name="pattern">0|-?[1-9][0-9]*</param></data>`
    }
    case 'boolean':
      return '<choice><value type="string">true</value><value type="string">false</value></choice>'
    case 'bytes':
      return '<data type="base64Binary"/>'
    default:
      return scalar satisfies never
  }
}

const wrappers = { required: undefined, optional: 'optional', many: 'zeroOrMore' } as const

function wrap(pattern: string, occurs: keyof typeof wrappers): string {
  const wrapper = wrappers[occurs]
  return wrapper === undefined ? pattern : `<${wrapper}>${pattern}</${wrapper}>`
}

/** What stands inside the element of a shape. */
function content(shape: ElementShape): string {
  const attributes = shape.attributes.map(({ name, scalar, presence }) =>
    wrap(`<attribute name="${name}">${scalarPattern(scalar)}</attribute>`, presence),
  )
  const children = shape.children.map((child) => {
    const inside = isElementShape(child.content) ? content(child.content) : scalarPattern(child.content)
    return wrap(`<element name="${child.name}">${inside}</element>`, child.occurs)
  })
  const inner = children.length > 1 ? `<interleave>${children.join('')}</interleave>` : children.join('')
  const text = shape.text === undefined ? '' : scalarPattern(shape.text.scalar)
  const all = attributes.join('') + inner + text
  return all === '' ? '<empty/>' : all
}

function message(kind: string, type: string, inside: string): string {
  const fixed = (name: string, value: string) =>
    `<attribute name="${name}"><value type="string">${value}</value></attribute>`
  const envelope = `${fixed('version', '1')}<ref name="id"/>${fixed('kind', kind)}${fixed('type', type)}`
  return `<element name="vmrm">${envelope}${inside}</element>`
}

/** libxml2 takes no choice between <empty/> and an element for what it is, hence <optional>. */
function orError(inside: string): string {
  const error = '<ref name="error"/>'
  return inside === '<empty/>' ? wrap(error, 'optional') : `<choice><group>${inside}</group>${error}</choice>`
}

function define(name: string, pattern: string): string {
  return `<define name="${name}">${pattern}</define>\n`
}

/** The whole grammar; one line a definition, which keeps differences readable. */
export function relaxNg(): string {
  const defines: string[] = []
  const names: string[] = []
  const add = (kind: string, type: string, schema: z.ZodObject) => {
    const inside = content(bodyShape(schema, type))
    names.push(`${type}.${kind}`)
    defines.push(define(`${type}.${kind}`, message(kind, type, kind === 'reply' ? orError(inside) : inside)))
  }
  for (const [type, definition] of Object.entries(messages)) {
    if (definition.kind === 'event') {
      add('event', type, definition.body)
    } else {
      add('request', type, definition.request)
      add('reply', type, definition.reply)
    }
  }
  const start = `<start><choice>\n${names.map((name) => `<ref name="${name}"/>\n`).join('')}</choice></start>\n`
  const id = define('id', `<attribute name="id">${scalarPattern({ type: 'integer', minimum: 0n })}</attribute>`)
  const error = define('error', `<element name="error">${content(errorShape)}</element>`)
  return `${head}${start}${id}${error}${defines.join('')}</grammar>\n`
}

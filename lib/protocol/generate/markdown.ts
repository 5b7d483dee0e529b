// The reference page of the protocol, from the same definitions. Pure.
import type { z } from 'zod'
import { senderRules } from '../define.ts'
import { bodyShape } from '../envelope.ts'
import { messages } from '../messages.ts'
import { type ElementShape, isElementShape, type Scalar } from '../schema/shape.ts'

const head = `# Protocol: messages

Made by \`lib/protocol/generate/main.ts\` from the definitions in \`lib/protocol/messages\`; do not edit. The grammar is in [protocol.rng](protocol.rng).

Every message is one element \`<vmrm version="1" id="N" kind="request|reply|event" type="TYPE" …>\`; a reply carries its request's id, an event that of its subscription. A failed reply holds \`<error code="…" family="…" message="…" hint="…">quoted lines</error>\` and nothing else.
Numbers are decimal without leading zeros, truth values \`true\` and \`false\`. Comments, CDATA, processing instructions, DTDs and entities other than the five of XML are refused; so is every attribute and element that is not listed here.

`

const transportNames = { local: 'local socket', munge: 'TCP' } as const

function scalarText(scalar: Scalar): string {
  switch (scalar.type) {
    case 'choice':
      return scalar.values.map((value) => `\`${value}\``).join(', ')
    case 'string': {
      const [pattern] = scalar.patterns
      if (pattern !== undefined) return `\`${pattern.source.replaceAll('|', '\\|')}\``
      return scalar.maximum === undefined ? 'text' : `text, at most ${scalar.maximum} characters`
    }
    case 'integer':
    case 'bigint': {
      const from = scalar.minimum === undefined ? '' : ` from ${scalar.minimum}`
      const isLimited = scalar.maximum !== undefined && scalar.maximum < BigInt(Number.MAX_SAFE_INTEGER)
      return `number${from}${isLimited ? ` to ${scalar.maximum}` : ''}`
    }
    case 'boolean':
      return '`true`, `false`'
    case 'bytes':
      return `bytes in base64, at most ${scalar.maximum}`
    default:
      return scalar satisfies never
  }
}

const occursText = { required: 'yes', optional: 'no', many: 'any number' } as const

/** Rows of a table: the path of each attribute, element and text, its value, and whether it must be there. */
function rows(shape: ElementShape, path: string): string[] {
  const found = shape.attributes.map(
    ({ name, scalar, presence }) => `| \`${path}@${name}\` | ${scalarText(scalar)} | ${occursText[presence]} |`,
  )
  if (shape.text !== undefined) {
    found.push(`| \`${path}text()\` | ${scalarText(shape.text.scalar)} | ${occursText[shape.text.presence]} |`)
  }
  for (const { name, content, occurs } of shape.children) {
    const isElement = isElementShape(content)
    found.push(`| \`${path}${name}\` | ${isElement ? 'element' : scalarText(content)} | ${occursText[occurs]} |`)
    if (isElement) found.push(...rows(content, `${path}${name}/`))
  }
  return found
}

function table(title: string, schema: z.ZodObject, type: string): string {
  const found = rows(bodyShape(schema, type), '')
  if (found.length === 0) return `${title}: empty.\n\n`
  return `${title}:\n\n| where | value | required |\n|---|---|---|\n${found.join('\n')}\n\n`
}

/** The page's text. */
export function protocolPage(): string {
  const sections = Object.entries(messages).map(([type, definition]) => {
    const title = `## ${type}\n\n${definition.summary}\n\n`
    if (definition.kind === 'event') {
      return `${title}Event, from ${definition.from.join(' or ')}.\n\n${table('Event', definition.body, type)}`
    }
    const senders = definition.from.map((sender) => {
      const { callers, transports } = senderRules[sender]
      const whom = callers === 'everyone' ? 'any user' : 'root or SlurmUser'
      return `${sender} (${whom}; ${transports.map((transport) => transportNames[transport]).join(' or ')})`
    })
    const who = `From ${senders.join(', ')}, to ${definition.to.join(' or ')}.\n\n`
    return `${title}${who}${table('Request', definition.request, type)}${table('Reply', definition.reply, type)}`
  })
  return `${head}${sections.join('')}`.trimEnd().concat('\n')
}

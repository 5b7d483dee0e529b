// Bytes to a tree of elements. It owns the limits on size and depth; what the elements mean is the schema's.
import { XMLParser } from 'fast-xml-parser'
import { invalid } from '../invalid.ts'
import { depthLimit, frameLimitBytes } from '../limits.ts'
import { scanXml } from './scan.ts'
import { unescapeXml } from './text.ts'

export interface XmlElement {
  readonly name: string
  readonly attributes: ReadonlyMap<string, string>
  readonly children: readonly XmlElement[]
  /** All text directly inside the element. */
  readonly text: string
}

/** One node as fast-xml-parser gives it in document order: `{NAME: children, ':@': attributes}` or `{'#text': text}`. */
type Node = Readonly<Record<string, unknown>>

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  // References are replaced below, by rules of our own: fast-xml-parser knows more of them than the protocol.
  processEntities: false,
  strictReservedNames: false,
  jPath: false,
  maxNestedTags: depthLimit + 1,
})

function toAttributes(raw: unknown, where: string): Map<string, string> {
  const attributes = new Map<string, string>()
  for (const [name, value] of Object.entries((raw ?? {}) as Record<string, string>)) {
    // XML 1.0, 3.3.3: white space that is not written as a reference is a space.
    attributes.set(name, unescapeXml(value.replace(/[\t\n\r]/g, ' '), `${where}/@${name}`))
  }
  return attributes
}

function toElement(node: Node, parent: string): XmlElement {
  const name = Object.keys(node).find((key) => key !== ':@') ?? ''
  const where = parent === '' ? name : `${parent}/${name}`
  const children: XmlElement[] = []
  let text = ''
  for (const child of node[name] as Node[]) {
    if ('#text' in child) text += unescapeXml(String(child['#text']), where)
    else children.push(toElement(child, where))
  }
  if (children.length > 0 && text.trim() !== '') throw invalid(where, 'text stands beside elements')
  return { name, attributes: toAttributes(node[':@'], where), children, text }
}

/** The root element of a document, given as UTF-8. Throws `message-invalid` for anything but the protocol's XML. */
export function parseXml(bytes: Uint8Array): XmlElement {
  if (bytes.length > frameLimitBytes) {
    throw invalid('the document', `it has ${bytes.length} bytes, more than ${frameLimitBytes}`)
  }
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw invalid('the document', 'it is not UTF-8', cause)
  }
  const scanned = scanXml(text)
  let nodes: Node[]
  try {
    nodes = parser.parse(scanned) as Node[]
  } catch (cause) {
    throw invalid('the document', (cause as Error).message, cause)
  }
  const root = nodes.find((node) => !('#text' in node))
  if (root === undefined) throw invalid('the document', 'there is no element')
  return toElement(root, '')
}

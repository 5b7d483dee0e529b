// Accepts the strict subset of XML that the protocol uses, before fast-xml-parser (which is lenient) builds the tree:
// elements, attributes, text. It refuses DTDs, comments, CDATA and processing instructions; it builds nothing.

import { invalid, quote } from '../invalid.ts'
import { depthLimit } from '../limits.ts'
import { checkCharacters } from './text.ts'

const declaration = /^<\?xml version=(?:"1\.0"|'1\.0')(?: encoding=(?:"UTF-8"|"utf-8"|'UTF-8'|'utf-8'))?\s*\?>/
const name = '[A-Za-z][A-Za-z0-9._:-]{0,127}'
const openTag = new RegExp(`<(${name})`, 'y')
const closeTag = new RegExp(`</(${name})\\s*>`, 'y')
const attribute = new RegExp(`\\s+(${name})\\s*=\\s*(?:"[^"<]*"|'[^'<]*')`, 'y')
const tagEnd = /\s*(\/?)>/y

/** Where in the text the scan is, and which elements are open. */
class Scanner {
  readonly text: string
  at = 0
  readonly open: string[] = []

  constructor(text: string) {
    this.text = text
  }

  take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at
    const match = pattern.exec(this.text)
    if (match === null) return undefined
    this.at = pattern.lastIndex
    return match
  }

  fail(problem: string): Error {
    return invalid(`character ${this.at}`, problem)
  }
}

function scanAttributes(scanner: Scanner, element: string): void {
  const seen = new Set<string>()
  for (;;) {
    const found = scanner.take(attribute)
    if (found === undefined) return
    const attributeName = found[1] ?? ''
    if (seen.has(attributeName)) throw scanner.fail(`<${element}> has the attribute ${attributeName} twice`)
    seen.add(attributeName)
  }
}

function scanTag(scanner: Scanner): void {
  const close = scanner.take(closeTag)
  if (close !== undefined) {
    const expected = scanner.open.pop()
    if (close[1] !== expected) throw scanner.fail(`</${close[1]}> ends <${expected}>`)
    return
  }
  const opened = scanner.take(openTag)
  const element = opened?.[1]
  if (element === undefined) {
    const start = quote(scanner.text.slice(scanner.at, scanner.at + 12))
    throw scanner.fail(`${start} is no tag (DTDs, comments, CDATA and processing instructions are refused)`)
  }
  if (scanner.open.length >= depthLimit) throw scanner.fail(`elements are nested more than ${depthLimit} deep`)
  scanAttributes(scanner, element)
  const end = scanner.take(tagEnd)
  if (end === undefined) throw scanner.fail(`the tag <${element}> is malformed`)
  if (end[1] === '') scanner.open.push(element)
}

function scanText(scanner: Scanner): void {
  const next = scanner.text.indexOf('<', scanner.at)
  const end = next === -1 ? scanner.text.length : next
  const text = scanner.text.slice(scanner.at, end)
  if (text.includes(']]>')) throw scanner.fail('"]]>" stands in a text')
  if (scanner.open.length === 0 && text.trim() !== '') throw scanner.fail('text stands outside the root element')
  scanner.at = end
}

/** Throws `message-invalid` unless `text` is one well-formed document of the subset; returns it without a declaration. */
export function scanXml(text: string): string {
  checkCharacters(text, 'the document')
  const scanner = new Scanner(text)
  scanner.at = declaration.exec(text)?.[0].length ?? 0
  const start = scanner.at
  let roots = 0
  while (scanner.at < text.length) {
    scanText(scanner)
    if (scanner.at >= text.length) break
    if (scanner.open.length === 0) roots += 1
    if (roots > 1) throw scanner.fail('there is more than one root element')
    scanTag(scanner)
  }
  if (scanner.open.length > 0) throw scanner.fail(`<${scanner.open.at(-1)}> is not closed`)
  if (roots === 0) throw scanner.fail('there is no element')
  return text.slice(start)
}

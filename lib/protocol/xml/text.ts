// Characters and entities of XML 1.0: what can be written, and how. Pure.
import { invalid } from '../invalid.ts'

/** Anything XML 1.0 has no way to write: control characters, lone surrogates, U+FFFE and U+FFFF. */
const unrepresentable = /[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u
const references = /&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));|&/g
const named: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
}

function describe(character: string): string {
  return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`
}

/** Throws `message-invalid` when `value` holds a character that XML 1.0 cannot carry. */
export function checkCharacters(value: string, where: string): void {
  const found = unrepresentable.exec(value)
  if (found) throw invalid(where, `the character ${describe(found[0])} cannot be part of an XML document`)
}

/** For texts that must get through whatever is in them (messages of errors): what cannot be written becomes U+FFFD. */
export function replaceUnrepresentable(value: string): string {
  return value.replace(new RegExp(unrepresentable, 'gu'), '\uFFFD')
}

/** An attribute value or a text, escaped so that every conforming parser gives back exactly `value`. */
export function escapeXml(value: string, where: string, context: 'attribute' | 'text'): string {
  checkCharacters(value, where)
  const pattern = context === 'attribute' ? /[&<>"\t\n\r]/g : /[&<>\r]/g
  return value.replace(pattern, (character) => escapes[character] ?? character)
}

/** Replaces the five named and the numeric references; every other `&` is refused. */
export function unescapeXml(raw: string, where: string): string {
  if (!raw.includes('&')) return raw
  return raw.replace(references, (reference, name?: string, decimal?: string, hexadecimal?: string) => {
    if (name !== undefined) return named[name] ?? reference
    if (decimal === undefined && hexadecimal === undefined) {
      throw invalid(where, 'only &amp; &lt; &gt; &quot; &apos; and numeric references are known')
    }
    const codePoint = decimal === undefined ? Number.parseInt(hexadecimal ?? '', 16) : Number(decimal)
    if (codePoint > 0x10ffff) throw invalid(where, `${reference} is no character`)
    const character = String.fromCodePoint(codePoint)
    checkCharacters(character, where)
    return character
  })
}

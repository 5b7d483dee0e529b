// Text into XML 1.0. Whatever comes in, what comes out is well-formed and reads back as data.

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters that XML 1.0 cannot hold, even escaped
const forbidden = /[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]/g
const named: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&apos;' }

/**
 * Text for an element or an attribute in either kind of quotes. Tabs and line ends survive as references; characters that
 * XML cannot hold and lone surrogates become U+FFFD.
 */
export function escapeXml(text: string | number): string {
  return String(text)
    .toWellFormed()
    .replace(forbidden, '\ufffd')
    .replace(/[&<>"']/g, (character) => named[character] ?? '')
    .replace(/[\t\n\r]/g, (character) => `&#${character.charCodeAt(0)};`)
}

/** Whether `escapeXml` loses nothing of it: paths must be, or another file would be meant. */
export function isXmlText(text: string): boolean {
  return text.isWellFormed() && text.search(forbidden) === -1
}

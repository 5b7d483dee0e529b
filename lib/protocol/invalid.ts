// Words the one error for a message that does not follow the protocol.
import { VmrmError } from '../errors/vmrm-error.ts'

const longestQuote = 80

/** A value as it may stand in an error: quoted, control characters escaped, cut to a length. */
export function quote(value: string): string {
  const cut = value.length > longestQuote ? `${value.slice(0, longestQuote)}…` : value
  return JSON.stringify(cut)
}

/** Throws `message-too-large` for a message that its transport would not carry. */
export function checkLength(xml: string, options: { what: string; limitBytes: number }): void {
  const length = Buffer.byteLength(xml)
  if (length <= options.limitBytes) return
  const { what, limitBytes } = options
  throw new VmrmError('message-too-large', `The message ${what} has ${length} bytes, more than ${limitBytes}`)
}

/** `where` is the place in the document, such as `vmrm/request/@image`. */
export function invalid(where: string, problem: string, cause?: unknown): VmrmError {
  return new VmrmError('message-invalid', `Invalid message, at ${where}: ${problem}`, { cause })
}

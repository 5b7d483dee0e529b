// Words the one error for a message that does not follow the protocol.
import { VmrmError } from '../errors/vmrm-error.ts'

const longestQuote = 80

/** A value as it may stand in an error: quoted, control characters escaped, cut to a length. */
export function quote(value: string): string {
  const cut = value.length > longestQuote ? `${value.slice(0, longestQuote)}…` : value
  return JSON.stringify(cut)
}

/** `where` is the place in the document, such as `vmrm/request/@image`. */
export function invalid(where: string, problem: string, cause?: unknown): VmrmError {
  return new VmrmError('message-invalid', `Invalid message, at ${where}: ${problem}`, { cause })
}

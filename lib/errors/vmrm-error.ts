// The one error class of vmrm. It owns how a failure is carried; the sentences are in catalogue.ts.
import { catalogue, type ErrorCode, type ErrorFamily } from './catalogue.ts'

/**
 * A failure with a code from the catalogue.
 * `message` says what was being done, to what, and what went wrong; `hint` is the next step for whoever reads it.
 * `quoted` are the failing tool's last lines, shown below the message.
 */
export class VmrmError extends Error {
  readonly code: ErrorCode
  readonly family: ErrorFamily
  readonly hint: string
  readonly quoted: string | undefined

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; hint?: string; quoted?: string } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'VmrmError'
    this.code = code
    this.family = catalogue[code].family
    this.hint = options.hint ?? catalogue[code].hint
    this.quoted = options.quoted
  }
}

/** Any thrown value as a VmrmError; what is not one already is a bug of ours (`internal`). */
export function toVmrmError(thrown: unknown): VmrmError {
  if (thrown instanceof VmrmError) return thrown
  const text = thrown instanceof Error ? thrown.message : String(thrown)
  return new VmrmError('internal', text, { cause: thrown })
}

/** The text a person reads: every line starts with `vmrm: `, quoted lines are indented below. */
export function renderForUser(error: VmrmError): string {
  const lines = [...error.message.split('\n')]
  if (error.hint !== '') lines.push(error.hint)
  if (error.quoted !== undefined)
    lines.push(
      ...error.quoted
        .trimEnd()
        .split('\n')
        .map((line) => `  | ${line}`),
    )
  return lines.map((line) => `vmrm: ${line}\n`).join('')
}

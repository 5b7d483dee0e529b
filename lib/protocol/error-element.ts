// Failures as they travel: a VmrmError to the fields of <error> and back.
import { z } from 'zod'
import { catalogue, type ErrorCode } from '../errors/catalogue.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { errorCode } from './messages/common.ts'
import { asReason } from './reason.ts'
import { text } from './schema/fields.ts'
import { elementShape } from './schema/shape.ts'

export const errorSchema = z.strictObject({
  code: errorCode,
  family: z.enum(['user', 'capacity', 'node', 'config', 'peer', 'bug']),
  message: z.string(),
  hint: z.string(),
  /** The failing tool's last lines. */
  quoted: text(z.string()).optional(),
})

export const errorShape = elementShape(errorSchema, 'error')

/** What of an error is told: never its cause or its stack. What XML cannot carry is replaced, not refused. */
export function errorFields(error: VmrmError): z.output<typeof errorSchema> {
  const quoted = error.quoted === undefined ? {} : { quoted: asReason(error.quoted) }
  const { code, family } = error
  return { code, family, message: asReason(error.message), hint: asReason(error.hint), ...quoted }
}

/** The error to throw for an <error>; a code of a newer peer becomes `peer-error`. */
export function errorFromFields(fields: z.output<typeof errorSchema>): VmrmError {
  const isKnown = Object.hasOwn(catalogue, fields.code)
  const code = isKnown ? (fields.code as ErrorCode) : 'peer-error'
  const message = isKnown ? fields.message : `${fields.message} (${fields.code})`
  const quoted = fields.quoted === undefined ? {} : { quoted: fields.quoted }
  return new VmrmError(code, message, { hint: fields.hint, ...quoted })
}

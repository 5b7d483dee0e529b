// Scalars to text and back. It owns the strict spelling of numbers, booleans and bytes; zod checks the values.
import { invalid, quote } from '../invalid.ts'
import type { Scalar } from './shape.ts'

const integer = /^(?:0|-?[1-9][0-9]{0,39})$/
const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

function readInteger(raw: string, where: string): number {
  const value = Number(raw)
  if (!integer.test(raw) || !Number.isSafeInteger(value)) throw invalid(where, `${quote(raw)} is not an integer`)
  return value
}

function readBytes(raw: string, where: string): Uint8Array {
  const value = Buffer.from(raw, 'base64')
  // Comparing refuses encodings with stray bits, so that a value has one spelling.
  if (!base64.test(raw) || value.toString('base64') !== raw) throw invalid(where, 'the value is not base64')
  return new Uint8Array(value)
}

/** The value that `raw` spells; throws `message-invalid` where it spells none of that type. */
export function readScalar(scalar: Scalar, raw: string, where: string): unknown {
  switch (scalar.type) {
    case 'string':
    case 'choice':
      return raw
    case 'integer':
      return readInteger(raw, where)
    case 'bigint':
      if (!integer.test(raw)) throw invalid(where, `${quote(raw)} is not an integer`)
      return BigInt(raw)
    case 'boolean':
      if (raw !== 'true' && raw !== 'false') throw invalid(where, `${quote(raw)} is neither true nor false`)
      return raw === 'true'
    case 'bytes':
      return readBytes(raw, where)
    default:
      return scalar satisfies never
  }
}

/** The one spelling of a value that zod has checked. */
export function writeScalar(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('base64') : String(value)
}

// TLV lists: the fields inside the payloads of guest protocol 1 (u16 tag, u16 zero, u32 length, bytes). Pure.

const tlvHeaderBytes = 8

export interface Field {
  readonly tag: number
  readonly value: Buffer
}

export type FieldValue = string | Uint8Array

export function encodeFields(fields: readonly (readonly [tag: number, value: FieldValue])[]): Buffer {
  const parts: Buffer[] = []
  for (const [tag, value] of fields) {
    const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value
    const header = Buffer.alloc(tlvHeaderBytes)
    header.writeUInt16LE(tag, 0)
    header.writeUInt32LE(bytes.length, 4)
    parts.push(header, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  }
  return Buffer.concat(parts)
}

/** All fields in order, or undefined when a length does not fit: the payload is from a liar and nothing of it is used. */
export function decodeFields(payload: Buffer): Field[] | undefined {
  const fields: Field[] = []
  let at = 0
  while (at < payload.length) {
    if (payload.length - at < tlvHeaderBytes) return undefined
    const length = payload.readUInt32LE(at + 4)
    const start = at + tlvHeaderBytes
    if (length > payload.length - start) return undefined
    fields.push({ tag: payload.readUInt16LE(at), value: payload.subarray(start, start + length) })
    at = start + length
  }
  return fields
}

export function u32Field(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(value)
  return bytes
}

export function u64Field(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

const valueWith = (fields: readonly Field[], tag: number): Buffer | undefined =>
  fields.find((f) => f.tag === tag)?.value

export const textOf = (fields: readonly Field[], tag: number): string | undefined => valueWith(fields, tag)?.toString()

/** The number in the first field with this tag; undefined when there is none or it has another size. */
export function u32Of(fields: readonly Field[], tag: number): number | undefined {
  const value = valueWith(fields, tag)
  return value?.length === 4 ? value.readUInt32LE() : undefined
}

export function u64sOf(fields: readonly Field[], tag: number): bigint[] {
  return fields.filter((f) => f.tag === tag && f.value.length === 8).map((f) => f.value.readBigUInt64LE())
}

/** Several texts in one field, separated by NUL. Throws for a text that has a NUL itself. */
export function joinTexts(texts: readonly string[]): string {
  for (const text of texts) {
    if (text.includes('\0')) throw new RangeError(`a field must not contain NUL: ${JSON.stringify(text)}`)
  }
  return texts.join('\0')
}

// Descriptions of XDR types that encode and decode from one definition. It must never hold a type of libvirt's: those are in protocol.ts.
import { XdrError, type XdrReader, type XdrWriter } from './xdr.ts'

/** An XDR type: how its values are written and read. Both directions throw XdrError. */
export interface XdrType<T> {
  write(writer: XdrWriter, value: T): void
  read(reader: XdrReader): T
}

export type XdrValue<Type> = Type extends XdrType<infer T> ? T : never

export const int: XdrType<number> = { write: (writer, value) => writer.int(value), read: (reader) => reader.int() }
export const uint: XdrType<number> = { write: (writer, value) => writer.uint(value), read: (reader) => reader.uint() }
/** 64 bits as a bigint. */
export const uhyper: XdrType<bigint> = {
  write: (writer, value) => writer.uhyper(value),
  read: (reader) => reader.uhyper(),
}
/** 64 bits on the wire that fit a number here; anything above 2^53 is refused. */
export const safeUhyper: XdrType<number> = {
  write: (writer, value) => writer.uhyper(BigInt(value)),
  read: (reader) => {
    const value = reader.uhyper()
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new XdrError(`${value} is above 2^53`)
    return Number(value)
  },
}
/** No bytes at all: procedures without arguments or without a result. */
export const nothing: XdrType<undefined> = { write: () => {}, read: () => undefined }

/** A string of at most `maxBytes` of UTF-8. libvirt's strings end at a NUL, so one inside is refused. */
export function string(maxBytes: number): XdrType<string> {
  return {
    write: (writer, value) => {
      if (value.includes('\0')) throw new XdrError('a NUL inside a string')
      writer.opaque(Buffer.from(value, 'utf8'), maxBytes)
    },
    read: (reader) => reader.opaque(maxBytes).toString('utf8'),
  }
}

export function opaque(maxBytes: number): XdrType<Buffer> {
  return { write: (writer, value) => writer.opaque(value, maxBytes), read: (reader) => reader.opaque(maxBytes) }
}

/** A value that may be absent (XDR's pointer): a flag of 0 or 1 in front. */
export function optional<T>(type: XdrType<T>): XdrType<T | undefined> {
  return {
    write: (writer, value) => {
      writer.uint(value === undefined ? 0 : 1)
      if (value !== undefined) type.write(writer, value)
    },
    read: (reader) => {
      const flag = reader.uint()
      if (flag > 1) throw new XdrError(`${flag} where 0 or 1 must stand`)
      return flag === 0 ? undefined : type.read(reader)
    },
  }
}

export function array<T>(type: XdrType<T>, maxLength: number): XdrType<readonly T[]> {
  return {
    write: (writer, values) => {
      if (values.length > maxLength) throw new XdrError(`${values.length} elements, at most ${maxLength} may stand`)
      writer.uint(values.length)
      for (const value of values) type.write(writer, value)
    },
    read: (reader) => {
      // Grown as it is read: a count alone must not reserve memory.
      const values: T[] = []
      for (let left = reader.length(maxLength); left > 0; left--) values.push(type.read(reader))
      return values
    },
  }
}

type Fields = Readonly<Record<string, XdrType<unknown>>>
// biome-ignore lint/suspicious/noExplicitAny: the bound must admit every field type, and `unknown` is not contravariant here
type AnyFields = Readonly<Record<string, XdrType<any>>>

/** The fields in the order they are written down. */
export function struct<F extends AnyFields>(fields: F): XdrType<{ readonly [K in keyof F]: XdrValue<F[K]> }> {
  const entries = Object.entries(fields as Fields)
  return {
    write: (writer, value) => {
      for (const [name, type] of entries) type.write(writer, (value as Record<string, unknown>)[name])
    },
    read: (reader) =>
      Object.fromEntries(entries.map(([name, type]) => [name, type.read(reader)])) as {
        readonly [K in keyof F]: XdrValue<F[K]>
      },
  }
}

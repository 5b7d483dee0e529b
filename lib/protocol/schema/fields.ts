// What a message definition is written with, beside plain zod: how a field that is no simple attribute is laid out in XML.
import { z } from 'zod'
import { listLimit } from '../limits.ts'

/** How a schema travels where zod alone does not say. */
export type Layout =
  | { readonly as: 'text' }
  | { readonly as: 'list'; readonly element: string; readonly limit: number }
  | { readonly as: 'bytes'; readonly limitBytes: number }

export const layouts: z.core.$ZodRegistry<Layout> = z.registry<Layout>()

/** A string that is the text of its element, for what is long or has lines. At most one a message or object. */
export function text<S extends z.ZodString>(schema: S): S {
  layouts.add(schema, { as: 'text' })
  return schema
}

/** An array: repeated child elements called `element` (singular). Objects become elements, scalars their text. */
export function list<S extends z.ZodType>(element: string, item: S, limit = listLimit): z.ZodArray<S> {
  const schema = z.array(item).max(limit)
  layouts.add(schema, { as: 'list', element, limit })
  return schema
}

/** Any bytes, such as a path that need not be UTF-8: an attribute in base64, since XML has no way to carry them. */
export function bytes(limitBytes: number) {
  const schema = z.custom<Uint8Array>(
    (value) => value instanceof Uint8Array && value.length <= limitBytes,
    `must be at most ${limitBytes} bytes`,
  )
  layouts.add(schema, { as: 'bytes', limitBytes })
  return schema
}

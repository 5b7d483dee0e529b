// The last step in and the first step out: zod checks the fields, and what comes in is frozen.
import type { z } from 'zod'
import { invalid } from '../invalid.ts'
import { xmlName } from './shape.ts'

const mostIssues = 5

function place(path: readonly PropertyKey[]): string {
  return path.map((part) => (typeof part === 'number' ? `[${part}]` : `/${xmlName(String(part))}`)).join('')
}

function freeze(value: unknown): void {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return
  for (const inner of Object.values(value)) freeze(inner)
  Object.freeze(value)
}

/** `value` typed by `schema` and frozen (bytes excepted, which JavaScript cannot freeze). Throws `message-invalid`. */
export function checkFields<S extends z.ZodObject>(schema: S, value: unknown, where: string): z.output<S> {
  const result = schema.safeParse(value)
  if (!result.success) {
    const issues = result.error.issues.slice(0, mostIssues)
    const text = issues.map((issue) => `${where}${place(issue.path)}: ${issue.message}`).join('; ')
    throw invalid(where, text, result.error)
  }
  freeze(result.data)
  return result.data
}

// A loop over things that have nothing to do with each other: one that fails keeps none of the others from its turn.
import { oneOf } from './one-of-errors.ts'

/** Does the work for each, in their order; then throws what failed first, and with it in one message what else failed. */
export function eachOrFirstError<T>(items: Iterable<T>, work: (item: T) => void): void {
  const errors: unknown[] = []
  for (const item of items) {
    try {
      work(item)
    } catch (error) {
      errors.push(error)
    }
  }
  if (errors.length > 0) throw oneOf(errors)
}

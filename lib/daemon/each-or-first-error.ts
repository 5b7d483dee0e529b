// A loop over things that have nothing to do with each other: one that fails keeps none of the others from its turn.

/** Does the work for each, in their order; then throws what failed first. */
export function eachOrFirstError<T>(items: Iterable<T>, work: (item: T) => void): void {
  let first: { error: unknown } | undefined
  for (const item of items) {
    try {
      work(item)
    } catch (error) {
      first ??= { error }
    }
  }
  if (first !== undefined) throw first.error
}

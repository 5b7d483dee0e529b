// Several pieces of work at the same time, of which all must succeed.

/** Waits for all, even when one fails, so that a roll-back meets nothing under way; then throws the first failure in time. */
export async function allOrFirstError<T>(parts: readonly Promise<T>[]): Promise<T[]> {
  let first: { error: unknown } | undefined
  const results = await Promise.allSettled(
    parts.map((part) =>
      part.catch((error: unknown) => {
        first ??= { error }
        throw error
      }),
    ),
  )
  if (first !== undefined) throw first.error
  return results.map((result) => (result as PromiseFulfilledResult<T>).value)
}

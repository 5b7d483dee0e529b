// Pieces of work of which all must succeed: the first that fails stops the others.
import { allOrFirstError } from '../../all-or-first-error.ts'

/**
 * Begins them with a signal that aborts with the caller's own, and as soon as one of them has failed. Waits for all, as
 * `allOrFirstError` does; then rejects with the first failure in time.
 */
export async function allOrStopped<T extends readonly unknown[] | []>(
  signal: AbortSignal,
  begin: (signal: AbortSignal) => T,
): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const failed = new AbortController()
  const parts = begin(AbortSignal.any([signal, failed.signal])).map((part) =>
    Promise.resolve(part).catch((error: unknown) => {
      failed.abort(error)
      throw error
    }),
  )
  return (await allOrFirstError(parts)) as { -readonly [K in keyof T]: Awaited<T[K]> }
}

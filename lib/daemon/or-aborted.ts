// Waiting for work of others, but no longer than a signal allows.

/** What the work comes to, unless the signal aborts before: then rejects with its reason, and the work goes on. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const stop = Promise.withResolvers<never>()
  const abort = () => stop.reject(signal.reason)
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  try {
    return await Promise.race([work, stop.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

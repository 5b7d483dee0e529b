// What could not be made into a template, remembered for a while, so that not each job pays for another try. No I/O.

export interface Failure {
  /** For people. */
  readonly reason: string
  readonly untilMs: number
}

export interface Failures {
  /** Undefined when another try may be made. */
  find(key: string): Failure | undefined
  add(key: string, reason: string): void
  forget(key: string): void
  clear(): void
}

const forgetMs = 10 * 60_000
/** More keys than that at a time mean that a site changes its images all the time; the oldest failure is tried again. */
const most = 256

export function createFailures(now: () => number): Failures {
  const failures = new Map<string, Failure>()
  return {
    find(key) {
      const failure = failures.get(key)
      if (failure === undefined || failure.untilMs > now()) return failure
      failures.delete(key)
      return undefined
    },
    add(key, reason) {
      failures.delete(key)
      failures.set(key, { reason, untilMs: now() + forgetMs })
      for (const oldest of failures.keys()) {
        if (failures.size <= most) break
        failures.delete(oldest)
      }
    },
    forget: (key) => void failures.delete(key),
    clear: () => failures.clear(),
  }
}

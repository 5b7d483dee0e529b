// Waiting for a condition within a bound, instead of sleeping.
import { setTimeout as delay } from 'node:timers/promises'

/**
 * Resolves with the first value of `probe` that is neither undefined nor false; throws, naming `what`, after `timeoutMs`. A probe
 * that starts programs should be asked less often than the default, or it takes the CPUs from what it waits for.
 */
export async function until<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeoutMs = 10_000,
  intervalMs = 5,
): Promise<Exclude<T, undefined | false>> {
  const deadline = performance.now() + timeoutMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`)
    await delay(intervalMs)
  }
}

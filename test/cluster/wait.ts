// Bounded waits for a condition.
import { setTimeout as delay } from 'node:timers/promises'

/** True as soon as `condition` is, false when `timeoutMs` have passed without. */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  options: { timeoutMs: number; intervalMs?: number },
): Promise<boolean> {
  const deadline = performance.now() + options.timeoutMs
  for (;;) {
    if (await condition()) return true
    if (performance.now() >= deadline) return false
    await delay(options.intervalMs ?? 20)
  }
}

// Random numbers with a seed, so that a failure can be repeated: VMRM_TEST_SEED=N.

/** The seed given by the environment, else one of the clock's; `purpose` keeps tests apart. */
export function seedOf(purpose: string): number {
  const given = process.env.VMRM_TEST_SEED
  return given === undefined ? (Date.now() + purpose.length) >>> 0 : Number(given)
}

/** Mulberry32: small, good enough to choose test cases. `next(n)` is from 0 to n-1. */
export function random(seed: number) {
  let state = seed >>> 0
  const next = (limit: number) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % Math.max(1, limit)
  }
  const pick = <T>(items: readonly T[]): T => items[next(items.length)] as T
  return { seed, next, pick }
}

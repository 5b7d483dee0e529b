// Random numbers that can be had again: a test prints its seed, and VMRM_TEST_SEED repeats it.

export interface Random {
  readonly seed: number
  /** A whole number from 0 to `below` - 1. */
  int(below: number): number
  bytes(length: number): Buffer
  pick<T>(items: readonly T[]): T
}

/** mulberry32: small, and good enough to find cases. */
export function createRandom(seed: number = Number(process.env.VMRM_TEST_SEED ?? Date.now() % 2 ** 32)): Random {
  let state = seed >>> 0
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const int = (below: number): number => Math.floor(next() * below)
  return {
    seed,
    int,
    bytes: (length) => Buffer.from(Array.from({ length }, () => int(256))),
    pick: (items) => items[int(items.length)] as (typeof items)[number],
  }
}

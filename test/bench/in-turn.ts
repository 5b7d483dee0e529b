// Work on many things, so many of them at the same time. Pure but for what the work does.

/** In their order; the first failure is thrown once nothing is under way any more, and nothing new is begun after it. */
export async function inTurn<T>(
  things: readonly T[],
  atOnce: number,
  work: (thing: T) => Promise<void>,
): Promise<void> {
  let next = 0
  const failures: unknown[] = []
  const hand = async (): Promise<void> => {
    while (failures.length === 0 && next < things.length) {
      const thing = things[next++] as T
      await work(thing).catch((error: unknown) => void failures.push(error))
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, things.length) }, hand))
  if (failures.length > 0) throw failures[0]
}

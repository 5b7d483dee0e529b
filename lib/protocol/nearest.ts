// Finds the valid name that a wrong one was probably meant to be. Pure.

const longestName = 64

/** Levenshtein's distance, over two rows. */
function distance(from: string, to: string): number {
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row]
    for (let column = 1; column <= to.length; column += 1) {
      const substitution = (previous[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1)
      current.push(Math.min(substitution, (previous[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1))
    }
    previous = current
  }
  return previous[to.length] ?? 0
}

/** The one of `valid` nearest to `name`, case and separators aside; undefined when there is none to choose from. */
export function nearestName(name: string, valid: readonly string[]): string | undefined {
  const plain = (text: string) => text.slice(0, longestName).replace(/[-_]/g, '').toLowerCase()
  let best: { name: string; distance: number } | undefined
  for (const candidate of valid) {
    const candidateDistance = distance(plain(name), plain(candidate))
    if (best === undefined || candidateDistance < best.distance) best = { name: candidate, distance: candidateDistance }
  }
  return best?.name
}

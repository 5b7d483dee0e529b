// Which free members of a range are taken: those that follow each other where there are enough, else as few pieces as can be.
// What a run has is told in ranges, so scattered leases make its messages long. Pure.

export interface Piece {
  /** Indexes `first` to `first + length - 1`. */
  readonly first: number
  readonly length: number
}

/** How far is looked for one piece once there are enough members in several: each look costs a fraction of a microsecond. */
const looksAtMost = 131_072

/**
 * Goes round the range once at most, beginning at `from`. The pieces are in that order, of `wanted` members in all; fewer where
 * the whole range has no more free ones.
 */
export function choosePieces(options: {
  size: number
  from: number
  wanted: number
  isFree: (index: number) => boolean
}): readonly Piece[] {
  const { size, from, wanted, isFree } = options
  const pieces: { first: number; length: number }[] = []
  let current: { first: number; length: number } | undefined
  let free = 0
  for (let seen = 0; seen < size && (free < wanted || seen < looksAtMost); seen += 1) {
    const index = (from + seen) % size
    if (!isFree(index)) {
      current = undefined
      continue
    }
    // The last member and the first do not follow each other.
    if (current === undefined || index === 0) {
      current = { first: index, length: 0 }
      pieces.push(current)
    }
    current.length += 1
    free += 1
    if (current.length === wanted) return [current]
  }
  return longestOf(pieces, wanted)
}

function longestOf(pieces: readonly Piece[], wanted: number): readonly Piece[] {
  const chosen = new Map<Piece, number>()
  let left = wanted
  for (const piece of [...pieces].sort((a, b) => b.length - a.length)) {
    if (left === 0) break
    chosen.set(piece, Math.min(piece.length, left))
    left -= Math.min(piece.length, left)
  }
  return pieces.flatMap((piece) => {
    const length = chosen.get(piece)
    return length === undefined ? [] : [{ first: piece.first, length }]
  })
}

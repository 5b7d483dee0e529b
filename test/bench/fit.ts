// How a cost grows with a size: the exponent of the power law that fits best. Pure.

export interface Point {
  readonly size: number
  readonly cost: number
}

/** 1: in proportion; below: each costs less the more there are. Least squares of the logarithms; NaN for less than two sizes. */
export function exponentOf(points: readonly Point[]): number {
  const logs = points.map(({ size, cost }) => ({ x: Math.log(size), y: Math.log(cost) }))
  const mean = (of: (log: { x: number; y: number }) => number) =>
    logs.reduce((sum, log) => sum + of(log), 0) / logs.length
  const [x, y] = [mean((log) => log.x), mean((log) => log.y)]
  const slope = logs.reduce((sum, log) => sum + (log.x - x) * (log.y - y), 0)
  return slope / logs.reduce((sum, log) => sum + (log.x - x) ** 2, 0)
}

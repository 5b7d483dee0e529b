// A benchmark's figures: medians, whether a goal is met, and how they are printed. Pure; it never drops a figure.

export interface Metric {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** The same without vmrm, in the same unit; null where there is nothing to compare with. */
  readonly baseline: number | null
  /** value / baseline. */
  readonly ratio: number | null
  /** In the metric's unit; null for a figure that is only information. */
  readonly goal: number | null
  readonly met: boolean | null
}

export interface Measured {
  readonly name: string
  readonly unit: string
  readonly value: number
  readonly baseline?: number
  /** 'at-most' holds for times and memory, 'at-least' for rates. */
  readonly goal?: { readonly bound: 'at-most' | 'at-least'; readonly value: number }
}

/** The middle of an odd number of samples, else the mean of the two in the middle. Throws RangeError for none. */
export function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b)
  const high = sorted[Math.floor(sorted.length / 2)]
  const low = sorted[Math.ceil(sorted.length / 2) - 1]
  if (high === undefined || low === undefined) throw new RangeError('a median of no samples')
  return (high + low) / 2
}

const round = (value: number): number => Number(value.toPrecision(4))

/** `met` comes from the figures as measured, not as rounded for print. */
export function judge({ name, unit, value, baseline, goal }: Measured): Metric {
  return {
    name,
    value: round(value),
    unit,
    baseline: baseline === undefined ? null : round(baseline),
    ratio: baseline === undefined || baseline === 0 ? null : round(value / baseline),
    goal: goal === undefined ? null : round(goal.value),
    met: goal === undefined ? null : goal.bound === 'at-most' ? value <= goal.value : value >= goal.value,
  }
}

/** For people: one line a metric. */
export function renderTable(metrics: readonly Metric[]): string {
  const text = (value: number | null): string => (value === null ? '' : String(value))
  const rows = metrics.map((m) => [
    m.name,
    text(m.value),
    m.unit,
    text(m.baseline),
    text(m.ratio),
    text(m.goal),
    m.met === null ? '' : m.met ? 'yes' : 'NO',
  ])
  const all = [['metric', 'value', 'unit', 'baseline', 'ratio', 'goal', 'met'], ...rows]
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? []
  const line = (row: readonly string[]): string =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ')
  return `${all.map((row) => line(row).trimEnd()).join('\n')}\n`
}

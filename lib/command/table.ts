// Columns for people: as wide as their widest cell, the last one as it is.

/** Control characters become question marks: other users' text may be among what a terminal shows. */
export function cleanLine(text: string): string {
  return text.replace(/\p{Cc}/gu, '?')
}

/** A line a row, each ended by a newline; every row has as many cells as the head. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const clean = [head, ...rows].map((row) => row.map(cleanLine))
  const widths = head.map((_, column) => Math.max(...clean.map((row) => row[column]?.length ?? 0)))
  const lines = clean.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}

// Columns for people: as wide as their widest cell, the last one as it is.

/** Control characters in cells become question marks: other users' text may be among them. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const clean = [head, ...rows].map((row) => row.map((cell) => cell.replace(/\p{Cc}/gu, '?')))
  const full = clean.filter((row) => row.length === head.length)
  const widths = head.map((_, column) => Math.max(...full.map((row) => row[column]?.length ?? 0)))
  const lines = clean.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
  return `${lines.join('\n')}\n`
}

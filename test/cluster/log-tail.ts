// The last lines of a log, for messages.
import { readFileSync } from 'node:fs'

/** Indented; says so where there is no log. */
export function logTail(path: string, lineCount = 15): string {
  try {
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n').slice(-lineCount)
    return [`  last lines of ${path}:`, ...lines.map((line) => `  | ${line}`)].join('\n')
  } catch {
    return `  (no log at ${path})`
  }
}

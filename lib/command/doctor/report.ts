// The doctor's words: a line a finding, then each problem with what it means and what mends it. Pure.
import { cleanLine } from '../table.ts'
import type { Finding, Verdict } from './check.ts'

export interface CheckedFinding extends Finding {
  readonly check: string
}

const words = { ok: 'ok', warn: 'warn', fail: 'FAIL' } as const satisfies Record<Verdict, string>

export function renderReport(findings: readonly CheckedFinding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length))
  const lines = findings.map(
    ({ verdict, check, text }) => `${words[verdict].padEnd(4)}  ${check.padEnd(width)}  ${cleanLine(text)}`,
  )
  for (const { verdict, check, text, meaning = '', mend = '' } of findings) {
    if (verdict === 'ok') continue
    lines.push(
      '',
      `${words[verdict]} ${check}: ${cleanLine(text)}`,
      `  ${cleanLine(meaning)}`,
      `  -> ${cleanLine(mend)}`,
    )
  }
  const count = (verdict: Verdict): number => findings.filter((finding) => finding.verdict === verdict).length
  lines.push('', `${count('ok')} ok, ${count('warn')} warn, ${count('fail')} FAIL`)
  return `${lines.join('\n')}\n`
}

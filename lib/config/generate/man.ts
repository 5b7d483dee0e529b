// A manual page of section 5 in the man macros of troff (groff_man(7)). Pure.
import type { DescribedSetting } from './settings.ts'

export interface ManPage {
  readonly name: string
  readonly section: number
  readonly summary: string
  readonly synopsis: string
  readonly description: readonly string[]
  readonly settings: readonly DescribedSetting[]
  readonly example: string
  readonly seeAlso: readonly string[]
}

/** Text as troff shows it: a dot or quote at the start of a line is no request, and a hyphen is a hyphen. */
function escapeTroff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('`', '')
    .replace(/^([.'])/gm, '\\&$1')
}

function settingEntry({ path, value, presence, standard, description }: DescribedSetting): string {
  const notes = [
    value === '' ? '' : `Value: ${value}.`,
    standard === undefined ? '' : `Default: ${standard}.`,
    presence === 'optional' ? '' : `${presence === 'required' ? 'Required' : 'Any number of times'}.`,
  ].filter((note) => note !== '')
  const text = [description, ...notes].map(escapeTroff).join('\n')
  return `.TP\n.B ${escapeTroff(path)}\n${text}`
}

export function renderManPage(page: ManPage): string {
  const paragraphs = page.description.map(escapeTroff).join('\n.PP\n')
  return `.\\" Made by lib/config/generate/main.ts; do not edit.
.TH ${page.name.toUpperCase()} ${page.section} "" vmrm "vmrm"
.SH NAME
${escapeTroff(page.name)} \\- ${escapeTroff(page.summary)}
.SH SYNOPSIS
.I ${escapeTroff(page.synopsis)}
.SH DESCRIPTION
${paragraphs}
.SH SETTINGS
${page.settings.map(settingEntry).join('\n')}
.SH EXAMPLE
.nf
${escapeTroff(page.example)}
.fi
.SH SEE ALSO
${page.seeAlso.map((name) => `.BR ${escapeTroff(name.replace('(', ' ('))}`).join(' ,\n')}
`
}

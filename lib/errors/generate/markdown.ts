// The reference page of the error codes, from the catalogue. Pure.
import { catalogue, type ErrorFamily, exitCodeOfFamily } from '../catalogue.ts'

const families: Readonly<Record<ErrorFamily, string>> = {
  user: 'A mistake of the user, or something the user may not do.',
  capacity: 'Something is used up for now.',
  node: 'A fault of the node itself. Only these may drain a node.',
  config: "A fault in the site's configuration.",
  peer: 'Another program or host failed or did not answer.',
  bug: 'A fault of vmrm itself.',
}

export function errorsPage(): string {
  const exits = Object.entries(families).map(
    ([family, text]) => `| \`${family}\` | ${exitCodeOfFamily[family as ErrorFamily]} | ${text} |`,
  )
  const codes = Object.entries(catalogue)
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([code, { family, meaning, hint }]) => `| \`${code}\` | \`${family}\` | ${meaning} | ${hint} |`)
  return `# Errors

Made by \`lib/errors/generate/main.ts\` from \`lib/errors/catalogue.ts\`; do not edit.

Every failure has a code, a family that says whose it is, a sentence about this case, and often a next step. Programs read code and family in the [protocol](protocol.md); people read the sentence, each line of it after \`vmrm: \`.

## Families and exit codes

The exit code of \`vmrm\` and \`vmrmd\` follows from the family. Besides these, 64 is a command line that cannot be understood, and some commands have [codes of their own](options.md#exit-codes).

| family | exit code | whose |
|---|---|---|
${exits.join('\n')}

## Codes

| code | family | meaning | next step |
|---|---|---|---|
${codes.join('\n')}
`
}

// Slurm's host list expressions, `n[1-3,07],login`. Pure; the source of the grammar is slurm's hostlist.c (22.05).
import { VmrmError } from '../errors/vmrm-error.ts'

const maxHosts = 65_536
const namePattern = /^[A-Za-z0-9._-]{1,255}$/

/** The names of a host list in its order. Throws `message-invalid` for what is none, or for more than 65,536 names. */
export function expandHostlist(text: string): readonly string[] {
  const names: string[] = []
  for (const part of splitOutsideBrackets(text)) {
    for (const name of expandPart(part)) {
      if (!namePattern.test(name)) throw invalid(text)
      names.push(name)
      if (names.length > maxHosts) throw invalid(text)
    }
  }
  return names
}

/** Names as one host list, `n[1-3],login`, that `scontrol show hostnames` takes apart again; each once, in the order given. */
export function renderHostlist(names: readonly string[]): string {
  const groups = new Map<string, string[]>()
  for (const name of new Set(names)) {
    const [, head = name, digits] = /^(.*?)(\d{1,9})$/.exec(name) ?? []
    const key = digits === undefined ? name : `${head} ${digits.length}`
    groups.set(key, [...(groups.get(key) ?? []), digits ?? ''])
  }
  return [...groups].map(([key, numbers]) => renderGroup(key.split(' ')[0] ?? '', numbers)).join(',')
}

function renderGroup(head: string, digits: readonly string[]): string {
  const [only = ''] = digits
  if (digits.length === 1) return head + only
  const ranges: [string, string][] = []
  for (const each of digits) {
    const range = ranges.at(-1)
    if (range !== undefined && Number(each) === Number(range[1]) + 1) range[1] = each
    else ranges.push([each, each])
  }
  return `${head}[${ranges.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(',')}]`
}

function splitOutsideBrackets(text: string): readonly string[] {
  const parts: string[] = []
  let depth = 0
  let from = 0
  for (let at = 0; at < text.length; at += 1) {
    if (text[at] === '[') depth += 1
    if (text[at] === ']') depth -= 1
    if (depth < 0 || depth > 1) throw invalid(text)
    if (text[at] === ',' && depth === 0) {
      parts.push(text.slice(from, at))
      from = at + 1
    }
  }
  if (depth !== 0) throw invalid(text)
  parts.push(text.slice(from))
  return parts
}

function* expandPart(part: string): Generator<string> {
  const open = part.indexOf('[')
  if (open === -1) {
    yield part
    return
  }
  const close = part.indexOf(']', open)
  const head = part.slice(0, open)
  for (const range of part.slice(open + 1, close).split(',')) {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(range)
    if (match?.[1] === undefined) throw invalid(part)
    const first = Number(match[1])
    const last = match[2] === undefined ? first : Number(match[2])
    if (last < first || last - first >= maxHosts) throw invalid(part)
    for (let number = first; number <= last; number += 1) {
      for (const tail of expandPart(part.slice(close + 1)))
        yield head + String(number).padStart(match[1].length, '0') + tail
    }
  }
}

function invalid(text: string): VmrmError {
  return new VmrmError('message-invalid', `not a host list: ${JSON.stringify(text.slice(0, 200))}`)
}

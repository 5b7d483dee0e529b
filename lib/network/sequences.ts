// Long lists of names and numbers as short texts, `sim-[0001+16384],login` or `10.64.0.2+16384`, so that what a run has is told
// in ranges. Pure. Whoever reads one names the most it may hold: a text of a few bytes can stand for millions.
import { VmrmError } from '../errors/vmrm-error.ts'
import { formatIpv4, parseIpv4 } from './ipv4.ts'

/** What a text stands for, without having it all at hand. */
export interface Sequence {
  readonly length: number
  /** Of the members those from `from` on; fewer than `count` where the sequence ends. */
  slice(from: number, count: number): readonly string[]
}

interface Piece {
  readonly count: number
  readonly at: (index: number) => string
}

const largestNumber = 999_999_999
const namePattern = /^[A-Za-z0-9._-]{1,255}$/

/** Names in their order. In brackets: the first number with its zeros, and how many there are. */
export function packNames(names: readonly string[]): string {
  const texts: string[] = []
  for (let at = 0; at < names.length; ) {
    const name = names[at] ?? ''
    const piece = rising(name, names[at + 1])
    let count = 1
    while (piece !== undefined && at + count < names.length && names[at + count] === piece.at(count)) count += 1
    texts.push(piece === undefined ? name : piece.text(count))
    at += count
  }
  return texts.join(',')
}

/** The names beginning with this one, if the next counts on from one of the numbers in it. */
function rising(name: string, next: string | undefined) {
  for (const match of next === undefined ? [] : name.matchAll(/\d{1,9}/g)) {
    const [digits] = match
    const prefix = name.slice(0, match.index)
    const suffix = name.slice(match.index + digits.length)
    const at = (index: number) => `${prefix}${String(Number(digits) + index).padStart(digits.length, '0')}${suffix}`
    if (next === at(1)) return { at, text: (count: number) => `${prefix}[${digits}+${count}]${suffix}` }
  }
  return undefined
}

export function parseNames(text: string, most: number): Sequence {
  return sequence(text, most, (part) => {
    const match = /^([A-Za-z0-9._-]*)\[(\d{1,9})\+([1-9]\d{0,8})\]([A-Za-z0-9._-]*)$/.exec(part)
    if (match === null) return namePattern.test(part) ? { count: 1, at: () => part } : undefined
    const [, prefix = '', digits = '', , suffix = ''] = match
    const [first, count] = [Number(digits), Number(match[3])]
    const at = (index: number) => `${prefix}${String(first + index).padStart(digits.length, '0')}${suffix}`
    return first + count - 1 <= largestNumber && namePattern.test(at(count - 1)) ? { count, at } : undefined
  })
}

/** IPv4 addresses in their order. */
export function packAddresses(addresses: readonly string[]): string {
  return packNumbers(addresses, (address) => parseIpv4(address) ?? Number.NaN)
}

export function parseAddresses(text: string, most: number): Sequence {
  return sequence(text, most, numbered({ read: parseIpv4, write: formatIpv4, last: 0xffff_ffff }))
}

/** MAC addresses in their order. */
export function packMacs(macs: readonly string[]): string {
  return packNumbers(macs, (mac) => macNumber(mac) ?? Number.NaN)
}

export function parseMacs(text: string, most: number): Sequence {
  return sequence(text, most, numbered({ read: macNumber, write: formatMac, last: 0xffff_ffff_ffff }))
}

/** `16*1024,8`: numbers in their order, each with how often it comes. */
export function packCounts(counts: readonly number[]): string {
  const texts: string[] = []
  for (let at = 0; at < counts.length; ) {
    let times = 1
    while (counts[at + times] === counts[at] && at + times < counts.length) times += 1
    texts.push(times === 1 ? `${counts[at]}` : `${counts[at]}*${times}`)
    at += times
  }
  return texts.join(',')
}

/** Throws `message-invalid` as the others do. */
export function parseCounts(text: string, most: number): readonly number[] {
  const counts: number[] = []
  for (const part of text.split(',')) {
    const match = /^(\d{1,9})(?:\*([1-9]\d{0,8}))?$/.exec(part)
    const times = Number(match?.[2] ?? 1)
    if (match === null || counts.length + times > most) throw invalid(text)
    const value = Number(match[1])
    for (let index = 0; index < times; index += 1) counts.push(value)
  }
  return counts
}

function packNumbers(items: readonly string[], numberOf: (item: string) => number): string {
  const texts: string[] = []
  const numbers = items.map(numberOf)
  for (let at = 0; at < items.length; ) {
    let count = 1
    while (numbers[at + count] === (numbers[at] ?? 0) + count) count += 1
    texts.push(count === 1 ? `${items[at]}` : `${items[at]}+${count}`)
    at += count
  }
  return texts.join(',')
}

function numbered(kind: {
  read: (text: string) => number | undefined
  write: (value: number) => string
  last: number
}) {
  return (part: string): Piece | undefined => {
    const match = /^([0-9a-f.:]{7,17})(?:\+([1-9]\d{0,8}))?$/.exec(part)
    const first = match?.[1] === undefined ? undefined : kind.read(match[1])
    const count = Number(match?.[2] ?? 1)
    if (first === undefined || first + count - 1 > kind.last) return undefined
    return { count, at: (index) => kind.write(first + index) }
  }
}

/** Throws `message-invalid` for what is no such text, and for one with more members than `most`. */
function sequence(text: string, most: number, read: (part: string) => Piece | undefined): Sequence {
  const pieces: (Piece & { readonly from: number })[] = []
  let length = 0
  for (const part of text === '' ? [] : text.split(',')) {
    const piece = read(part)
    if (piece === undefined || length + piece.count > most) throw invalid(text)
    pieces.push({ ...piece, from: length })
    length += piece.count
  }
  return {
    length,
    slice(from, count) {
      const items: string[] = []
      for (const piece of pieces) {
        const first = Math.max(0, from - piece.from)
        const end = Math.min(piece.count, from + count - piece.from)
        for (let index = first; index < end; index += 1) items.push(piece.at(index))
      }
      return items
    },
  }
}

function macNumber(text: string): number | undefined {
  return /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(text) ? Number.parseInt(text.replaceAll(':', ''), 16) : undefined
}

function formatMac(value: number): string {
  const digits = value.toString(16).padStart(12, '0')
  return digits.replace(/..(?!$)/g, '$&:')
}

function invalid(text: string): VmrmError {
  return new VmrmError('message-invalid', `not a list of ranges: ${JSON.stringify(text.slice(0, 200))}`)
}

// An image's hostnames as `tiny-[0001-9999]`. Pure: which of them is taken is the ledger's business.
import assert from 'node:assert/strict'

export interface HostnameRange {
  readonly prefix: string
  readonly suffix: string
  readonly first: number
  readonly last: number
  /** Digits of the number, padded with zeros; 0 means as many as it needs. */
  readonly digits: number
}

const maxNumber = 9_999_999
const labelPattern = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/

/**
 * One bracket with a range of numbers; both of the same length, or the first without leading zeros (`vm[1-20]`).
 * Undefined for anything else, and where a name would not be a hostname (lower case, at most 63 characters, no dots).
 */
export function parseHostnameRange(text: string): HostnameRange | undefined {
  const match = /^([a-z0-9-]*)\[(\d{1,7})-(\d{1,7})\]([a-z0-9-]*)$/.exec(text)
  if (match === null) return undefined
  const [, prefix = '', from = '', to = '', suffix = ''] = match
  const first = Number(from)
  const last = Number(to)
  const isPadded = from.length === to.length
  if (first > last || last > maxNumber || (!isPadded && from !== String(first))) return undefined
  const range = { prefix, suffix, first, last, digits: isPadded ? to.length : 0 }
  const isUsable = [first, last].every((number) => labelPattern.test(render(range, number)))
  return isUsable ? range : undefined
}

function render(range: HostnameRange, number: number): string {
  return `${range.prefix}${String(number).padStart(range.digits, '0')}${range.suffix}`
}

export function hostnameCount(range: HostnameRange): number {
  return range.last - range.first + 1
}

/** The hostname at an index that counts from 0. */
export function hostnameAt(range: HostnameRange, index: number): string {
  assert(Number.isInteger(index) && index >= 0 && index < hostnameCount(range), `no hostname ${index} in the range`)
  return render(range, range.first + index)
}

// Headers of tar archives, as GNU's and busybox's tar write and read them. It owns the bytes; what they say is not believed here.
import { VmrmError } from '../../errors/vmrm-error.ts'

export const blockBytes = 512
const checksumAt = 148
const checksumEnd = 156
const largestOctalSize = 0o77777777777

export interface Header {
  readonly name: Buffer
  /** Permission bits. */
  readonly mode: number
  readonly size: number
  /** Seconds since 1970. */
  readonly mtime: number
  /** tar's letter: `0` file, `5` folder, `1` link to a file before, `L` a long name. */
  readonly type: string
  readonly linkName: Buffer
}

/** How many bytes fill the last block of so many. */
export function paddingOf(size: number): number {
  return (blockBytes - (size % blockBytes)) % blockBytes
}

/** One header, or three blocks and more where the name is long. */
export function writeHeader({ name, mode, size, mtime, type }: Omit<Header, 'linkName'>): Buffer {
  if (name.length > 100) {
    const long = Buffer.concat([name, Buffer.of(0)])
    const first = writeHeader({ name: Buffer.from('././@LongLink'), mode: 0, size: long.length, mtime: 0, type: 'L' })
    const rest = writeHeader({ name: name.subarray(0, 100), mode, size, mtime, type })
    return Buffer.concat([first, long, Buffer.alloc(paddingOf(long.length)), rest])
  }
  const block = Buffer.alloc(blockBytes)
  name.copy(block)
  block.write(octal(mode & 0o7777, 7), 100)
  block.write(octal(0, 7), 108)
  block.write(octal(0, 7), 116)
  if (size <= largestOctalSize) block.write(octal(size, 11), 124)
  else block.writeUInt8(0x80, 124) && block.writeBigUInt64BE(BigInt(size), 128)
  block.write(octal(Math.max(0, Math.floor(mtime)), 11), 136)
  block.write(type, 156)
  block.write('ustar  \0', 257)
  block.write(`${octal(checksum(block), 6)}\0 `, checksumAt)
  return block
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

function checksum(block: Buffer): number {
  let sum = 0
  for (const [at, byte] of block.entries()) sum += at >= checksumAt && at < checksumEnd ? 0x20 : byte
  return sum
}

/** Undefined for a block of zeros. Throws `peer-error` for what is no header. */
export function readHeader(block: Buffer): Header | undefined {
  if (block.every((byte) => byte === 0)) return undefined
  if (checksum(block) !== readNumber(block.subarray(checksumAt, checksumEnd)))
    throw notTar('a header has a wrong checksum')
  const isUstar = block.toString('latin1', 257, 263) === 'ustar\0'
  const prefix = isUstar ? untilNul(block.subarray(345, 500)) : Buffer.alloc(0)
  const name = untilNul(block.subarray(0, 100))
  return {
    name: prefix.length > 0 ? Buffer.concat([prefix, Buffer.from('/'), name]) : name,
    mode: readNumber(block.subarray(100, 108)) & 0o777,
    size: readNumber(block.subarray(124, 136)),
    mtime: readNumber(block.subarray(136, 148)),
    type: block[156] === 0 ? '0' : String.fromCharCode(block[156] ?? 0),
    linkName: untilNul(block.subarray(157, 257)),
  }
}

export function untilNul(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0)
  return end < 0 ? bytes : bytes.subarray(0, end)
}

function readNumber(field: Buffer): number {
  const isBinary = ((field[0] ?? 0) & 0x80) !== 0
  const value = isBinary
    ? Number(BigInt(`0x${field.subarray(1).toString('hex')}`))
    : Number.parseInt(untilNul(field).toString('latin1').trim() || '0', 8)
  if (!Number.isSafeInteger(value) || value < 0) throw notTar('a header has a number that is none')
  return value
}

/** What came from the guest is no archive. */
export function notTar(what: string): VmrmError {
  return new VmrmError('peer-error', `what the VM sent is no tar archive: ${what}`, { hint: '' })
}

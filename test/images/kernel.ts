// Takes the kernel proper out of Debian's vmlinuz. It owns the two formats involved: the x86 boot header and lz4's
// legacy frame. QEMU starts the ELF file through its PVH entry, which spares each boot the decompression.
import { VmrmError } from '../../lib/errors/vmrm-error.ts'

// Offsets in the x86 boot protocol's header (Linux, Documentation/x86/boot.rst).
const setupSectors = 0x1f1
const payloadOffset = 0x248
const payloadLength = 0x24c
const sectorBytes = 512

const legacyMagic = 0x184c2102

const unusable = (why: string): VmrmError =>
  new VmrmError('command-failed', `building an image: the kernel cannot be unpacked: ${why}`)

/** A length that goes on in bytes of 255. */
function readLength(input: Buffer, at: number, nibble: number): [length: number, at: number] {
  let length = nibble
  let next = at
  if (nibble !== 15) return [length, next]
  for (;;) {
    const more = input.readUInt8(next++)
    length += more
    if (more !== 255) return [length, next]
  }
}

/** One lz4 block from `input` into `output` at `start`; the answer is where it ended. */
function decodeBlock(input: Buffer, output: Buffer, start: number): number {
  let at = 0
  let end = start
  while (at < input.length) {
    const token = input.readUInt8(at++)
    const [literals, from] = readLength(input, at, token >> 4)
    input.copy(output, end, from, from + literals)
    at = from + literals
    end += literals
    if (at >= input.length) break
    const distance = input.readUInt16LE(at)
    const [extra, next] = readLength(input, at + 2, token & 15)
    at = next
    const length = extra + 4
    if (distance === 0 || distance > end || end + length > output.length) throw unusable('damaged lz4 data')
    // Source and target may overlap: that is how lz4 repeats a pattern.
    if (distance >= length) output.copyWithin(end, end - distance, end - distance + length)
    else for (let i = 0; i < length; i++) output[end + i] = output[end + i - distance] as number
    end += length
  }
  return end
}

/** The ELF kernel inside a vmlinuz that was compressed with lz4, as Debian's are. Throws `command-failed` for others. */
export function unpackKernel(vmlinuz: Buffer): Buffer {
  const start = (vmlinuz.readUInt8(setupSectors) + 1) * sectorBytes + vmlinuz.readUInt32LE(payloadOffset)
  const payload = vmlinuz.subarray(start, start + vmlinuz.readUInt32LE(payloadLength))
  if (payload.length < 8 || payload.readUInt32LE(0) !== legacyMagic) throw unusable('it is not compressed with lz4')
  // The last four bytes are the size of the result.
  const output = Buffer.alloc(payload.readUInt32LE(payload.length - 4))
  let end = 0
  for (let at = 4; at < payload.length - 4; ) {
    const blockBytes = payload.readUInt32LE(at)
    end = decodeBlock(payload.subarray(at + 4, at + 4 + blockBytes), output, end)
    at += 4 + blockBytes
  }
  if (end !== output.length || output.readUInt32BE(0) !== 0x7f454c46) throw unusable('the result is no ELF file')
  return output
}

// Reads a 32-bit constant that a shared object exports, without loading the object: loading would run its code.
// From the ELF-64 object file format: section headers of type DYNSYM (11) and the string table they link to.

const headerBytes = 64
const sectionTypeDynsym = 11
const symbolBytes = 24

interface Section {
  readonly type: number
  readonly address: number
  readonly offset: number
  readonly size: number
  readonly link: number
}

/** Undefined for anything that is no little-endian ELF-64 file with that symbol. */
export function readElfConstant(file: Buffer, symbol: string): number | undefined {
  try {
    return find(file, symbol)
  } catch (error) {
    // A truncated or hostile file leads outside the buffer.
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function find(file: Buffer, symbol: string): number | undefined {
  const magic = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1])
  if (file.length < headerBytes || !file.subarray(0, magic.length).equals(magic)) return undefined
  const sections = readSections(file)
  const symbols = sections.find((section) => section.type === sectionTypeDynsym)
  const strings = sections[symbols?.link ?? -1]
  if (symbols === undefined || strings === undefined) return undefined
  for (let at = symbols.offset; at < symbols.offset + symbols.size; at += symbolBytes) {
    const nameAt = strings.offset + file.readUInt32LE(at)
    if (file.toString('latin1', nameAt, nameAt + symbol.length + 1) !== `${symbol}\0`) continue
    const address = Number(file.readBigUInt64LE(at + 8))
    const home = sections.find((one) => address >= one.address && address < one.address + one.size && one.address > 0)
    return home === undefined ? undefined : file.readUInt32LE(home.offset + address - home.address)
  }
  return undefined
}

function readSections(file: Buffer): Section[] {
  const start = Number(file.readBigUInt64LE(40))
  const entryBytes = file.readUInt16LE(58)
  const count = file.readUInt16LE(60)
  return Array.from({ length: count }, (_, index) => {
    const at = start + index * entryBytes
    return {
      type: file.readUInt32LE(at + 4),
      address: Number(file.readBigUInt64LE(at + 16)),
      offset: Number(file.readBigUInt64LE(at + 24)),
      size: Number(file.readBigUInt64LE(at + 32)),
      link: file.readUInt32LE(at + 40),
    }
  })
}

// The header of a qcow2 file, written and read (format: docs/interop/qcow2.txt of QEMU 7.2). Pure; it never touches a file.
import assert from 'node:assert/strict'

export type DiskFormat = 'qcow2' | 'raw'

const magic = 0x514649fb // "QFI\xfb"
const clusterBits = 16
const clusterBytes = 1 << clusterBits
const headerBytes = 104
const backingFormatExtension = 0xe2792aca
/** QEMU's own limit for the name of a backing file. */
const backingPathMaxBytes = 1023
/** What one entry of the L1 table maps: a cluster of 8-byte L2 entries. */
const bytesPerL1Entry = (clusterBytes / 8) * clusterBytes

/** How many bytes of a file `parseQcow2Header` needs. */
export const qcow2HeaderBytes = headerBytes

export interface Qcow2Pieces {
  readonly pieces: readonly { readonly bytes: Buffer; readonly offset: number }[]
  /** Length of the whole file; what lies between the pieces is zeros. */
  readonly lengthBytes: number
}

/**
 * An empty version 3 image over a backing file: header, refcount table, one refcount block, L1 table without entries.
 * Asserts sizes that one refcount block can count (1,000 TiB) and a path that QEMU can store.
 */
export function renderQcow2Header(options: {
  readonly backingPath: string
  readonly backingFormat: DiskFormat
  readonly virtualSizeBytes: number
}): Qcow2Pieces {
  const { virtualSizeBytes } = options
  assert(Number.isSafeInteger(virtualSizeBytes) && virtualSizeBytes > 0 && virtualSizeBytes % 512 === 0)
  const backing = Buffer.from(options.backingPath)
  assert(backing.length <= backingPathMaxBytes, 'path of the backing file is too long for qcow2')
  const l1Entries = Math.ceil(virtualSizeBytes / bytesPerL1Entry)
  const clusters = 3 + Math.ceil((l1Entries * 8) / clusterBytes)
  assert(clusters <= clusterBytes / 2, 'the image is too large for one refcount block')

  const format = Buffer.from(options.backingFormat)
  const extensionBytes = 8 + Math.ceil(format.length / 8) * 8
  const backingOffset = headerBytes + extensionBytes + 8
  const header = Buffer.alloc(backingOffset + backing.length)
  header.writeUInt32BE(magic, 0)
  header.writeUInt32BE(3, 4)
  header.writeBigUInt64BE(BigInt(backingOffset), 8)
  header.writeUInt32BE(backing.length, 16)
  header.writeUInt32BE(clusterBits, 20)
  header.writeBigUInt64BE(BigInt(virtualSizeBytes), 24)
  header.writeUInt32BE(l1Entries, 36)
  header.writeBigUInt64BE(BigInt(3 * clusterBytes), 40) // L1 table
  header.writeBigUInt64BE(BigInt(clusterBytes), 48) // refcount table
  header.writeUInt32BE(1, 56) // its length in clusters
  header.writeUInt32BE(4, 96) // refcounts of 1 << 4 bits
  header.writeUInt32BE(headerBytes, 100)
  header.writeUInt32BE(backingFormatExtension, headerBytes)
  header.writeUInt32BE(format.length, headerBytes + 4)
  format.copy(header, headerBytes + 8)
  backing.copy(header, backingOffset)

  const refcountTable = Buffer.alloc(8)
  refcountTable.writeBigUInt64BE(BigInt(2 * clusterBytes))
  const refcounts = Buffer.alloc(clusters * 2)
  for (let cluster = 0; cluster < clusters; cluster++) refcounts.writeUInt16BE(1, cluster * 2)
  return {
    pieces: [
      { bytes: header, offset: 0 },
      { bytes: refcountTable, offset: clusterBytes },
      { bytes: refcounts, offset: 2 * clusterBytes },
    ],
    lengthBytes: clusters * clusterBytes,
  }
}

export type Qcow2Header =
  | { readonly kind: 'usable'; readonly virtualSizeBytes: number }
  | { readonly kind: 'refused'; readonly why: string }

const dirty = 1n << 0n
const corrupt = 1n << 1n
const externalData = 1n << 2n

/** Reads the first bytes of a master. Only a self-contained, unencrypted, intact image is usable. */
export function parseQcow2Header(bytes: Buffer): Qcow2Header {
  const refused = (why: string): Qcow2Header => ({ kind: 'refused', why })
  if (bytes.length < 72 || bytes.readUInt32BE(0) !== magic) return refused('it is not a qcow2 file')
  const version = bytes.readUInt32BE(4)
  if (version !== 2 && version !== 3) return refused(`its qcow2 version ${version} is unknown`)
  if (bytes.readBigUInt64BE(8) !== 0n) return refused('it has a backing file; a master must stand alone')
  if (bytes.readUInt32BE(32) !== 0) return refused('it is encrypted')
  const size = bytes.readBigUInt64BE(24)
  if (size === 0n || size > BigInt(Number.MAX_SAFE_INTEGER)) return refused(`its virtual size ${size} cannot be used`)
  if (version === 3) {
    if (bytes.length < headerBytes) return refused('its header is cut short')
    const features = bytes.readBigUInt64BE(72)
    if ((features & externalData) !== 0n) return refused('it has an external data file; a master must stand alone')
    if ((features & corrupt) !== 0n) return refused('it is marked corrupt')
    if ((features & dirty) !== 0n) return refused('it was not closed properly; repair it with qemu-img check -r all')
  }
  return { kind: 'usable', virtualSizeBytes: Number(size) }
}

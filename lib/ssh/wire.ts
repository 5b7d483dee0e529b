// SSH's data types (RFC 4251, section 5): what keys and certificates are made of. Pure.

/** A `string`: length and bytes. */
export function sshText(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value, 'utf8') : value
  return Buffer.concat([sshU32(bytes.length), bytes])
}

export function sshU32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function sshU64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

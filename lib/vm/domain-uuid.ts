// A VM's UUID, made of its name, so that a domain which exists already is recognised as the same.
import { createHash } from 'node:crypto'

/** Made once with uuidgen; a namespace in the sense of RFC 9562, section 5.5. */
const namespace = Buffer.from('6d1f5c0a9a4b4a3c8f0e2b7d51c3e9a4', 'hex')

/** UUID version 5 of a VM's name in its cluster. */
export function domainUuid(options: { readonly cluster: string; readonly vm: string }): string {
  const name = JSON.stringify([options.cluster, options.vm])
  const hash = createHash('sha1').update(namespace).update(name).digest().subarray(0, 16)
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6)
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8)
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

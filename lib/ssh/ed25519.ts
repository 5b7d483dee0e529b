// An Ed25519 key pair from its 32-byte seed, as SSH writes keys (RFC 8709). Pure; no file, no process.
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto'
import { sshText } from './wire.ts'

/** ASN.1 in front of a seed (RFC 8410) in PKCS #8. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex')
export const seedBytes = 32
export const keyType = 'ssh-ed25519'

export class Ed25519Key {
  readonly seed: Buffer
  /** 32 bytes. */
  readonly publicBytes: Buffer
  readonly #key: KeyObject

  constructor(seed: Buffer) {
    if (seed.length !== seedBytes) throw new RangeError(`a seed has ${seedBytes} bytes, not ${seed.length}`)
    this.seed = seed
    this.#key = createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: 'der', type: 'pkcs8' })
    const spki = createPublicKey(this.#key).export({ format: 'der', type: 'spki' })
    this.publicBytes = spki.subarray(spki.length - seedBytes)
  }

  /** The public key as it stands in signatures and files, undecoded. */
  get publicBlob(): Buffer {
    return Buffer.concat([sshText(keyType), sshText(this.publicBytes)])
  }

  /** `ssh-ed25519 AAAA…`, without a comment. */
  get publicLine(): string {
    return `${keyType} ${this.publicBlob.toString('base64')}`
  }

  /** The signature of `bytes` in SSH's form. */
  sign(bytes: Buffer): Buffer {
    return Buffer.concat([sshText(keyType), sshText(sign(null, bytes, this.#key))])
  }
}

// An unencrypted private key in OpenSSH's own format (PROTOCOL.key of OpenSSH). Pure.
import { createHash } from 'node:crypto'
import { type Ed25519Key, keyType } from './ed25519.ts'
import { sshText, sshU32 } from './wire.ts'

const blockBytes = 8
const lineLength = 70

/** The text of the file; the same key gives the same text. */
export function privateKeyFile(key: Ed25519Key, comment: string): string {
  // Two equal numbers tell a reader that it has decrypted well: nothing is encrypted here, so any will do.
  const check = createHash('sha256').update(key.publicBytes).digest().subarray(0, 4)
  const secret = Buffer.concat([
    ...[check, check, sshText(keyType), sshText(key.publicBytes)],
    ...[sshText(Buffer.concat([key.seed, key.publicBytes])), sshText(comment)],
  ])
  const missing = (blockBytes - (secret.length % blockBytes)) % blockBytes
  const padding = Buffer.from(Array.from({ length: missing }, (_, at) => at + 1))
  const bytes = Buffer.concat([
    ...[Buffer.from('openssh-key-v1\0'), sshText('none'), sshText('none'), sshText(''), sshU32(1)],
    ...[sshText(key.publicBlob), sshText(Buffer.concat([secret, padding]))],
  ])
  const lines = bytes.toString('base64').match(new RegExp(`.{1,${lineLength}}`, 'g')) ?? []
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n')
}

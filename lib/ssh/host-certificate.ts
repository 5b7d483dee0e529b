// A certificate that an authority gives a host's key (PROTOCOL.certkeys of OpenSSH). Pure.
import { createHash } from 'node:crypto'
import type { Ed25519Key } from './ed25519.ts'
import { sshText, sshU32, sshU64 } from './wire.ts'

const certificateType = 'ssh-ed25519-cert-v01@openssh.com'
const hostCertificate = 2
const forever = 0xffff_ffff_ffff_ffffn

/**
 * One line, as it stands in the file beside a host's key. It holds for these names alone; it never expires, since the authority
 * is forgotten with its run and a guest's clock may be wrong.
 */
export function hostCertificateLine(options: {
  readonly authority: Ed25519Key
  readonly host: Ed25519Key
  /** For the server's log. */
  readonly title: string
  /** Names and addresses; at least one, for a certificate without any would hold for every host. */
  readonly names: readonly string[]
}): string {
  const { authority, host, title, names } = options
  if (names.length === 0) throw new RangeError('a host certificate needs a name')
  // Makes two certificates differ where a signer's hash is weak; nothing has to be secret of it.
  const nonce = createHash('sha256').update(host.publicBytes).update(title).digest()
  const signed = Buffer.concat([
    ...[sshText(certificateType), sshText(nonce), sshText(host.publicBytes), sshU64(0n), sshU32(hostCertificate)],
    ...[sshText(title), sshText(Buffer.concat(names.map(sshText))), sshU64(0n), sshU64(forever)],
    // No critical options, no extensions, nothing reserved.
    ...[sshText(''), sshText(''), sshText(''), sshText(authority.publicBlob)],
  ])
  const blob = Buffer.concat([signed, sshText(authority.sign(signed))])
  return `${certificateType} ${blob.toString('base64')}`
}

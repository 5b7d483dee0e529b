// All SSH keys of a run, derived from one secret that the controller planned: whoever has the secret (controller and nodes)
// gets the same keys again, and none has to be stored. The secret, and with it the authority's key, never enters a guest.
import { hkdfSync } from 'node:crypto'
import { Ed25519Key, seedBytes } from './ed25519.ts'
import { hostCertificateLine } from './host-certificate.ts'
import { privateKeyFile } from './private-key-file.ts'

/** What one VM of a run gets. */
export interface VmSshKeys {
  /** Its host key, a private one. */
  readonly hostKey: string
  /** The certificate of that key: one line. */
  readonly hostCertificate: string
  /** The private key of the job's user, the same in all VMs of the run. */
  readonly userKey: string
  /** The line of an authorized_keys file that lets that key in. */
  readonly authorized: string
  /** The line of a known_hosts file that knows all hosts of the run. */
  readonly known: string
}

export const secretBytes = 32

export function vmSshKeys(options: {
  /** Of the run, `secretBytes` long. */
  readonly secret: Buffer
  /** The run's name, as it stands in comments. */
  readonly run: string
  /** The VM's index in the run. */
  readonly index: number
  /** What the VM is called, addresses included. */
  readonly names: readonly string[]
}): VmSshKeys {
  const { secret, run, index, names } = options
  if (secret.length !== secretBytes) throw new RangeError(`a run's secret has ${secretBytes} bytes`)
  const keyOf = (purpose: string) =>
    new Ed25519Key(Buffer.from(hkdfSync('sha256', secret, Buffer.from(run), `vmrm ssh ${purpose}`, seedBytes)))
  const authority = keyOf('authority')
  const user = keyOf('user')
  const host = keyOf(`host ${index}`)
  const title = `vmrm-${run}`
  return {
    hostKey: privateKeyFile(host, title),
    hostCertificate: hostCertificateLine({ authority, host, title: `${title}-${index}`, names }),
    userKey: privateKeyFile(user, title),
    authorized: `${user.publicLine} ${title}`,
    known: `@cert-authority * ${authority.publicLine} ${title}`,
  }
}

// The keys of a run as OpenSSH's own programs read them: what they say is compared, not our reading of the formats.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Ed25519Key } from '../../lib/ssh/ed25519.ts'
import { hostCertificateLine } from '../../lib/ssh/host-certificate.ts'
import { privateKeyFile } from '../../lib/ssh/private-key-file.ts'
import { secretBytes, vmSshKeys } from '../../lib/ssh/run-keys.ts'

const secret = randomBytes(secretBytes)
const keysOf = (index: number, from: { secret?: Buffer; run?: string } = {}) =>
  vmSshKeys({ secret, run: 'j12r0', index, names: ['tiny-0001', 'n1', '10.1.0.2'], ...from })

function scratch(test: Test): (name: string, content: string) => string {
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-ssh-test-'))
  test.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return (name, content) => {
    writeFileSync(join(folder, name), content, { mode: 0o600 })
    return join(folder, name)
  }
}

const keygen = (...args: string[]) => execFileSync('/usr/bin/ssh-keygen', args, { encoding: 'utf8', timeout: 20_000 })

t.test('ssh-keygen reads private keys and finds the public ones that we name', async (t) => {
  const file = scratch(t)
  const keys = keysOf(0)
  t.equal(keygen('-y', '-f', file('user', keys.userKey)).trim(), keys.authorized)
  const host = keygen('-y', '-f', file('host', keys.hostKey)).trim()
  t.not(host.split(' ')[1], keys.authorized.split(' ')[1])
  // Comments of each length modulo the block, so that each padding is read.
  for (let length = 0; length < 9; length++) {
    const key = new Ed25519Key(randomBytes(32))
    const read = keygen('-y', '-f', file(`k${length}`, privateKeyFile(key, 'x'.repeat(length)))).trim()
    t.equal(read, `${key.publicLine} ${'x'.repeat(length)}`.trim())
  }
})

t.test('ssh-keygen takes the certificate for what it is', async (t) => {
  const file = scratch(t)
  const keys = keysOf(7)
  const shown = keygen('-L', '-f', file('host-cert.pub', keys.hostCertificate))
  const fingerprint = (name: string, line: string) => keygen('-l', '-f', file(name, line)).split(' ')[1] ?? ''
  t.match(shown, /Type: ssh-ed25519-cert-v01@openssh\.com host certificate/)
  t.match(shown, /Key ID: "vmrm-j12r0-7"/)
  t.match(shown, /Valid: forever/)
  t.match(shown, /Principals: \n +tiny-0001\n +n1\n +10\.1\.0\.2\n/)
  t.match(shown, /Critical Options: \(none\)\n +Extensions: \(none\)/)
  const authority = keys.known.replace('@cert-authority * ', '')
  t.ok(shown.includes(`Signing CA: ED25519 ${fingerprint('authority', authority)}`), 'ssh-keygen checks its signature')
  const host = keygen('-y', '-f', file('host', keys.hostKey)).trim()
  t.ok(shown.includes(fingerprint('host.pub', host)), 'it certifies the host key')
})

t.test('one secret gives the same keys again, and all keys differ', async (t) => {
  t.strictSame(keysOf(3), keysOf(3))
  const [first, second] = [keysOf(0), keysOf(1)]
  t.not(first.hostKey, second.hostKey, 'a host key for each VM')
  t.not(first.hostCertificate, second.hostCertificate)
  for (const same of ['userKey', 'authorized', 'known'] as const) t.equal(first[same], second[same])
  for (const other of [keysOf(0, { secret: randomBytes(secretBytes) }), keysOf(0, { run: 'j12r1' })]) {
    for (const name of Object.keys(first) as (keyof typeof first)[]) t.not(first[name], other[name], name)
  }
})

t.test('what makes no key is an error', async (t) => {
  t.throws(() => keysOf(0, { secret: randomBytes(16) }), RangeError)
  t.throws(() => new Ed25519Key(randomBytes(31)), RangeError)
  const key = new Ed25519Key(randomBytes(32))
  t.throws(() => hostCertificateLine({ authority: key, host: key, title: 'x', names: [] }), RangeError)
})

// ssh between a job's VMs: the real agent, Debian's sshd and ssh, in namespaces that stand for one VM with the names of several.
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { identityTag as tag } from '../../../lib/guest/channel/identity.ts'
import { type FieldValue, joinTexts } from '../../../lib/guest/frame/fields.ts'
import { Ed25519Key } from '../../../lib/ssh/ed25519.ts'
import { privateKeyFile } from '../../../lib/ssh/private-key-file.ts'
import { secretBytes, type VmSshKeys, vmSshKeys } from '../../../lib/ssh/run-keys.ts'
import { unpackSshd } from '../../support/unpacked-sshd.ts'
import { until } from '../../support/until.ts'
import { Task } from './task.ts'
import { checkGuest, type Guest, startGuest } from './with-agent.ts'

t.setTimeout(180_000)

type Fields = readonly (readonly [number, FieldValue])[]

const secret = randomBytes(secretBytes)
const names = ['node7', 'n1', '10.77.0.5']
const keys = vmSshKeys({ secret, run: 'j1r0', index: 0, names })

const sshFields = (of: VmSshKeys): Fields => [
  [tag.sshHostKey, of.hostKey],
  [tag.sshHostCertificate, of.hostCertificate],
  [tag.sshUserKey, of.userKey],
  [tag.sshAuthorized, of.authorized],
  [tag.sshKnown, of.known],
]

/** `impostor` leads here too, but the certificate does not name it. */
const identity: Fields = [
  [tag.user, joinTexts(['tess@corp.example', '4321', '4321', '/run/home/tess', '/bin/sh', ''])],
  [tag.group, joinTexts(['tess', '4321'])],
  [tag.nic, joinTexts(['52:54:00:12:34:56', '10.77.0.5/24', ''])],
  [tag.hosts, joinTexts(['10.77.0.5,10.77.0.5', 'node7,impostor', 'n1', '2'])],
  [tag.slots, '4,0'],
  ...sshFields(keys),
]

const etc = (guest: Guest, name: string): string => join(guest.agent.folder, 'etc', name)

/** Makes the folder of a guest's ssh, with a key that came with the master. */
function installSsh(guest: Guest): Ed25519Key {
  mkdirSync(etc(guest, 'ssh'))
  writeFileSync(etc(guest, 'ssh/ssh_config'), '# of the image\nHost *\n\tSendEnv LANG')
  writeFileSync(etc(guest, 'ssh/sshd_config'), 'UsePAM no\nPermitRootLogin yes\n')
  const shared = new Ed25519Key(randomBytes(32))
  writeFileSync(etc(guest, 'ssh/ssh_host_ed25519_key'), privateKeyFile(shared, ''), { mode: 0o600 })
  guest.agent.inside([
    'sh',
    '-c',
    'ip link set lo up; grep -q ^sshd: /etc/passwd || echo sshd:x:101:65534::/run/sshd:/bin/false >>/etc/passwd',
  ])
  return shared
}

/** Starts sshd as a boot does; it goes on by itself. */
const startSshd = (guest: Guest, sshd: readonly string[]): string =>
  guest.agent.inside(['sh', '-c', 'mkdir -p /run/sshd && exec "$@"', 'sh', ...sshd])

/** Runs a command as the job's user; how it ended, and all it said. */
async function asUser(guest: Guest, ...argv: string[]): Promise<{ code: number | string; out: string; err: string }> {
  const task = new Task(guest.host, { argv, stdin: 'null' })
  const end = await task.ended()
  return { code: end.kind === 'exited' ? end.value : end.kind, out: task.outText, err: task.errText }
}

const keyOffered = (guest: Guest): string =>
  guest.agent.inside(['sh', '-c', 'ssh-keyscan -T 5 -t ed25519 127.0.0.1 2>/dev/null || true'])

async function checkLogins(t: Test, guest: Guest): Promise<void> {
  for (const name of names) {
    const found = await asUser(guest, 'ssh', name, 'id -u; echo $HOME; cat')
    t.strictSame(found, { code: 0, out: '4321\n/run/home/tess\n', err: '' }, `${name}, without a question or a warning`)
  }
  t.equal((await asUser(guest, 'ssh', 'node7', 'exit 7')).code, 7)
  const overPipes = ['ssh', '-o', 'ProxyCommand=/run/vmrm/vmrm-connect 22', 'node7', 'seq 100000']
  t.equal((await asUser(guest, ...overPipes)).out.slice(-13), '99999\n100000\n', 'over pipes, as vmrm ssh does')
  t.notOk(existsSync(etc(guest, 'ssh/ssh_host_ed25519_key')), "the master's key is gone")
  t.match(await asUser(guest, 'sh', '-c', 'ls -A ~'), { out: '' }, "nothing is in the user's home")
  t.match(await asUser(guest, 'ssh', 'impostor', 'true'), {
    code: 255,
    err: /name is not a listed principal/,
  })
  t.match(await asUser(guest, 'ssh', 'root@node7', 'true'), { code: 255, err: /Permission denied \(publickey/ })
}

t.test('an sshd that runs already takes the keys of the run', async (t) => {
  const sshd = await unpackSshd(t)
  const guest = await startGuest(t, { identity: 'fresh' })
  const shared = installSsh(guest)
  startSshd(guest, sshd)
  await until("the master's key", async () => keyOffered(guest).includes(shared.publicLine))
  t.equal(await guest.host.identify(identity), '')
  await checkLogins(t, guest)
  t.notMatch(keyOffered(guest), shared.publicLine)

  const stranger = vmSshKeys({ secret: randomBytes(secretBytes), run: 'j1r0', index: 0, names })
  writeFileSync(etc(guest, 'stranger'), stranger.userKey, { mode: 0o600 })
  guest.agent.inside(['chown', '4321', '/etc/stranger'])
  const intruder = ['ssh', '-F', '/dev/null', '-i', '/etc/stranger', '-o', 'StrictHostKeyChecking=no']
  t.match(
    await asUser(guest, ...intruder, '-o', 'UserKnownHostsFile=/dev/null', '-o', 'BatchMode=yes', 'node7', 'true'),
    { code: 255, err: /Permission denied \(publickey/ },
    "another run's key opens nothing",
  )
  t.equal(await guest.host.identify([...identity.slice(0, -5), ...sshFields(stranger)]), '', 'another identity')
  t.match(await asUser(guest, 'ssh', '-i', '/etc/stranger', 'node7', 'id -u'), { code: 0, out: '4321\n' })
  writeFileSync(etc(guest, 'stranger'), keys.userKey)
  t.match(
    await asUser(guest, ...intruder, '-o', 'UserKnownHostsFile=/dev/null', '-o', 'BatchMode=yes', 'node7', 'true'),
    {
      code: 255,
    },
  )
  checkGuest(t, guest)
})

t.test('an sshd that starts later takes them too, and a client waits for it', async (t) => {
  const sshd = await unpackSshd(t)
  const guest = await startGuest(t, { identity: 'fresh' })
  installSsh(guest)
  for (const round of ['first', 'again']) t.equal(await guest.host.identify(identity), '', round)
  const early = asUser(guest, 'ssh', 'node7', 'id -u')
  const waiting = new Task(guest.host, { argv: ['/run/vmrm/vmrm-connect', '22'], stdin: 'open' })
  await until('a client that tries', async () => guest.agent.inside(['sh', '-c', 'pgrep -x ssh || true']) !== '')
  startSshd(guest, sshd)
  t.strictSame(await early, { code: 0, out: '4321\n', err: '' })
  await until('a greeting', async () => waiting.outText.startsWith('SSH-2.0-'))
  waiting.endStdin()
  t.same(await waiting.ended(), { kind: 'exited', value: 0 })
  await checkLogins(t, guest)
  const config = readFileSync(etc(guest, 'ssh/ssh_config'), 'utf8')
  t.equal(config.split('# vmrm: begin').length, 2, 'one block, however often')
  t.match(config, /\nMatch all\n# vmrm: end of the job's keys\n# of the image\nHost \*\n\tSendEnv LANG\n$/)
  checkGuest(t, guest)
})

t.test('ssh to anything else is as the image and the user have it, also beside a thousand VMs', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  installSsh(guest)
  const many: Fields = [[tag.hosts, joinTexts(['10.78.0.0+1000', 'tiny-[0+1000]', 'n[0+1000]', '1*1000'])]]
  t.equal(await guest.host.identify([...many, ...sshFields(keys)]), '')
  const config = readFileSync(etc(guest, 'ssh/ssh_config'), 'utf8')
  t.ok(
    config.split('\n').every((line) => line.length < 1024),
    'no line is too long for an old OpenSSH',
  )
  const optionsFor = (host: string): string => guest.agent.inside(['ssh', '-G', host])
  for (const host of ['tiny-0', 'n0', 'tiny-500', 'n999', '10.78.3.231']) {
    t.match(optionsFor(host), /^identityfile \/run\/vmrm\/ssh\/id_ed25519$/m, host)
  }
  for (const host of ['tiny-1000', 'login.example', 'n']) t.notMatch(optionsFor(host), /vmrm/, host)
  t.match(optionsFor('login.example'), /^sendenv LANG$/m, "the image's own options hold")
  checkGuest(t, guest)
})

t.test('host files name the VMs that have tasks, and a guest without ssh takes its identity', async (t) => {
  const guest = await startGuest(t, { identity: 'fresh' })
  const hosts: Fields = [[tag.hosts, joinTexts(['10.77.0.5+3', 'node[7+3]', 'n[1+2]', '2,1'])]]
  t.equal(await guest.host.identify([...hosts, [tag.slots, '4,0,12'], ...sshFields(keys)]), '')
  t.equal(guest.agent.inside(['cat', '/run/vmrm/hostfile']), 'node7 slots=4\nnode9 slots=12\n')
  t.equal(guest.agent.inside(['cat', '/run/vmrm/machinefile']), 'node7:4\nnode9:12\n')
  t.notOk(existsSync(etc(guest, 'ssh')))
  const wrong: readonly [Fields, RegExp][] = [
    [[[tag.slots, '4,1']], /the identity has 3 hosts and the tasks of 2/],
    [[[tag.slots, '4,,1']], /field 18 makes no sense/],
    [[[tag.slots, '4,-1,1']], /field 18 makes no sense/],
    [[[tag.slots, '4*999999999']], /field 18 makes no sense/],
    [[[tag.slots, '4,1,99999999999']], /field 18 makes no sense/],
    [[[tag.sshHostKey, 'a\0b']], /field 13 makes no sense/],
    [[[tag.sshKnown, '\x1b[2J']], /field 17 makes no sense/],
  ]
  for (const [fields, complaint] of wrong) t.match(await guest.host.identify([...hosts, ...fields]), complaint)
  checkGuest(t, guest)
})

// The MUNGE client against real munged daemons, and against a fake one for answers that real ones rarely give.
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { mungeDecode, mungeEncode } from '../../lib/munge/client.ts'
import { startMunged } from '../support/munged.ts'

const munged = await startMunged()
t.teardown(() => munged.stop())
const { socketPath } = munged
const bytes = (text: string) => Buffer.from(text)

t.test('a credential carries any payload and its encoder', async (t) => {
  for (const payload of [Buffer.alloc(0), bytes('hello'), randomBytes(1000), randomBytes(300_000)]) {
    const before = Math.floor(Date.now() / 1000)
    const credential = await mungeEncode({ payload, socketPath, ttlSeconds: 77 })
    t.match(credential, /^MUNGE:.*:$/)
    const decoded = await mungeDecode(credential, { socketPath })
    t.equal(Buffer.compare(decoded.payload, payload), 0, `${payload.length} bytes come back`)
    t.equal(decoded.uid, process.getuid?.())
    t.equal(decoded.gid, process.getgid?.())
    t.equal(decoded.ttlSeconds, 77)
    // munged reads the kernel's coarse clock, which may still be in the second before.
    t.ok(decoded.encodedAt.getTime() / 1000 >= before - 1)
    t.match(decoded.address, /^\d+\.\d+\.\d+\.\d+$/)
    t.equal(decoded.uidRestriction, undefined)
  }
})

t.test('the munge and unmunge commands understand the same credentials', async (t) => {
  const theirs = execFileSync('/usr/bin/munge', ['-S', socketPath, '-s', 'from the command'], { timeout: 10_000 })
  const decoded = await mungeDecode(theirs.toString().trim(), { socketPath })
  t.equal(Buffer.from(decoded.payload).toString(), 'from the command')
  const ours = await mungeEncode({ payload: bytes('from us'), socketPath, uidRestriction: process.getuid?.() ?? 0 })
  const said = execFileSync('/usr/bin/unmunge', ['-S', socketPath], { input: ours, timeout: 10_000 }).toString()
  t.match(said, /from us/)
  t.match(said, /UID_RESTRICTION/)
})

t.test('an encoder that is another user is seen as that user', async (t) => {
  const script = ['-S', socketPath, '-s', 'x']
  const credential = execFileSync('/usr/bin/munge', script, { uid: 65534, gid: 65534, timeout: 10_000 })
    .toString()
    .trim()
  const decoded = await mungeDecode(credential, { socketPath })
  t.equal(decoded.uid, 65534)
  t.equal(decoded.gid, 65534)
})

const flip = (credential: string) => {
  const at = credential.length - 20
  return credential.slice(0, at) + (credential[at] === 'A' ? 'B' : 'A') + credential.slice(at + 1)
}

t.test('what is wrong with a credential has a code', async (t) => {
  const other = await startMunged()
  t.teardown(() => other.stop())
  const encode = (more: object = {}) => mungeEncode({ payload: bytes('x'), socketPath, ...more })
  const once = await encode()
  await mungeDecode(once, { socketPath })
  const cases: [string, string, string][] = [
    ['a second decode', once, 'munge-replayed'],
    ['a uid restriction to another user', await encode({ uidRestriction: 12345 }), 'munge-not-authorised'],
    ['a gid restriction to another group', await encode({ gidRestriction: 12345 }), 'munge-not-authorised'],
    ['a changed byte', flip(await encode()), 'munge-credential-invalid'],
    [
      'another key',
      await mungeEncode({ payload: bytes('x'), socketPath: other.socketPath }),
      'munge-credential-invalid',
    ],
    ['no credential at all', 'hello', 'munge-credential-invalid'],
    ['an empty credential', 'MUNGE::', 'munge-credential-invalid'],
  ]
  for (const [name, credential, code] of cases) {
    await t.rejects(mungeDecode(credential, { socketPath }), { code }, `${name} is ${code}`)
  }
})

t.test('a credential past its time to live is expired', async (t) => {
  const credentials = await Promise.all(
    Array.from({ length: 80 }, () => mungeEncode({ payload: bytes('x'), socketPath, ttlSeconds: 1 })),
  )
  let code: unknown
  for (const credential of credentials) {
    code = await mungeDecode(credential, { socketPath }).then(
      () => undefined,
      (error) => error.code,
    )
    if (code !== undefined) break
    await delay(50)
  }
  t.equal(code, 'munge-expired')
})

t.test('a munged that is not there is munge-unreachable, within the bound', async (t) => {
  const started = Date.now()
  await t.rejects(mungeEncode({ payload: bytes('x'), socketPath: join(munged.folder, 'nothing') }), {
    code: 'munge-unreachable',
    message: /nothing/,
  })
  t.ok(Date.now() - started < 5_000)
})

/** A munged that does with each connection what the test says. */
async function fakeMunged(t: Test, behave: (socket: Socket, nth: number) => void) {
  const path = join(munged.folder, `fake-${randomBytes(4).toString('hex')}`)
  let connections = 0
  const server = createServer((socket) => {
    socket.on('error', () => {})
    connections += 1
    behave(socket, connections)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  t.teardown(() => {
    server.close()
    rmSync(path, { force: true })
  })
  return { path, connections: () => connections }
}

t.test('an encode is asked again after a lost answer, a decode is not', async (t) => {
  const fake = await fakeMunged(t, (socket) => socket.once('data', () => socket.destroy()))
  await t.rejects(mungeEncode({ payload: bytes('x'), socketPath: fake.path }), { code: 'munge-unreachable' })
  t.ok(fake.connections() > 1, 'encode tried more than once')
  const before = fake.connections()
  await t.rejects(mungeDecode('MUNGE:AAAA:', { socketPath: fake.path }), { code: 'munge-unreachable' })
  t.equal(fake.connections() - before, 1, 'decode tried once')
})

function answer(type: number, body: Buffer, change: Partial<{ magic: number; version: number; length: number }> = {}) {
  const header = Buffer.alloc(11)
  header.writeUInt32BE(change.magic ?? 0x606d4b, 0)
  header.writeUInt8(change.version ?? 4, 4)
  header.writeUInt8(type, 5)
  header.writeUInt32BE(change.length ?? body.length, 7)
  return Buffer.concat([header, body])
}

function decodeAnswer(status: number) {
  return Buffer.concat([Buffer.from([status, 3]), Buffer.from('no\0'), Buffer.alloc(3 + 1 + 4 + 1 + 6 * 4 + 4)])
}

t.test('every status of munged has a code', async (t) => {
  const codes: Record<number, string> = {
    1: 'munge-credential-invalid',
    5: 'munge-failed',
    7: 'munge-unreachable',
    14: 'munge-credential-invalid',
    15: 'munge-expired',
    16: 'munge-rewound',
    17: 'munge-replayed',
    18: 'munge-not-authorised',
  }
  for (const [status, code] of Object.entries(codes)) {
    const fake = await fakeMunged(t, (socket) =>
      socket.once('data', () => socket.end(answer(5, decodeAnswer(+status)))),
    )
    await t.rejects(
      mungeDecode('MUNGE:AAAA:', { socketPath: fake.path }),
      { code, message: /"no"/ },
      `${status}: ${code}`,
    )
  }
})

t.test('an answer that is not munged protocol is refused', async (t) => {
  const good = decodeAnswer(0)
  const answers: [string, Buffer][] = [
    ['another magic number', answer(5, good, { magic: 1 })],
    ['another version', answer(5, good, { version: 5 })],
    ['another type', answer(3, good)],
    ['a huge length', answer(5, good, { length: 0xffffffff })],
    ['lengths over the end', answer(5, Buffer.concat([good.subarray(0, -4), Buffer.from([0, 0, 255, 0])]))],
    ['a truncated answer', answer(5, good).subarray(0, 20)],
    ['nothing', Buffer.alloc(0)],
  ]
  for (const [name, bytes] of answers) {
    const fake = await fakeMunged(t, (socket) => socket.once('data', () => socket.end(bytes)))
    await t.rejects(mungeDecode('MUNGE:AAAA:', { socketPath: fake.path }), { code: 'munge-unreachable' }, name)
  }
})

t.test('a munged that never answers is left at the bound or by the signal', async (t) => {
  const fake = await fakeMunged(t, () => {})
  await t.rejects(mungeDecode('MUNGE:AAAA:', { socketPath: fake.path, timeoutMs: 50 }), { code: 'munge-unreachable' })
  const controller = new AbortController()
  const asked = mungeEncode({ payload: bytes('x'), socketPath: fake.path, signal: controller.signal })
  controller.abort(new Error('enough'))
  await t.rejects(asked, { message: 'enough' })
})

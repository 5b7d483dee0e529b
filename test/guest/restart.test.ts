// What survives a vmrmd that is killed and started again while tasks run, and what does not.
import { createHash } from 'node:crypto'
import t from 'tap'
import { until } from '../support/until.ts'
import { buildC, Rig } from './rig.ts'

const rig = await Rig.start({
  agent: buildC('vmrm-agent', 'plain'),
  run: buildC('vmrm-run', 'sanitized'),
  orphanGraceMs: 5000,
})
t.teardown(() => rig.stop())

const lines = 4_000_000
const expected = (() => {
  const digest = createHash('sha256')
  for (let at = 1; at <= lines; at += 10_000) {
    digest.update(Array.from({ length: 10_000 }, (_, i) => `${at + i}\n`).join(''))
  }
  return digest.digest('hex')
})()

t.test('output that flows while vmrmd restarts five times is whole, nothing lost or doubled', async (t) => {
  const r = rig.run({ argv: ['seq', String(lines)] })
  for (let restarts = 0; restarts < 5; restarts++) {
    const before = r.stdoutBytes
    await until('bytes', () => r.stdoutBytes > before + 200_000 || r.child.exitCode !== null)
    await rig.restartDaemon()
  }
  t.match(await r.ended, { code: 0 })
  t.equal(r.digest.digest('hex'), expected)
  t.ok(rig.bridge.lostBytes > 0, `${rig.bridge.lostBytes} bytes were lost on the way and sent again`)
})

t.test('input and output both ways survive restarts', async (t) => {
  const r = rig.run({ argv: ['cat'], stdin: 'pipe' })
  const bytes = Buffer.alloc(1 << 20, 'vmrm was here 0123456789\n')
  const digest = createHash('sha256')
  for (let i = 0; i < 24; i++) {
    digest.update(bytes)
    if (r.child.stdin?.write(bytes) === false) await new Promise((resolve) => r.child.stdin?.once('drain', resolve))
    if (i % 6 === 3) await rig.restartDaemon()
  }
  r.child.stdin?.end()
  t.match(await r.ended, { code: 0 })
  t.equal(r.digest.digest('hex'), digest.digest('hex'))
})

t.test('a task that ends while vmrmd is away is reported afterwards', async (t) => {
  const r = rig.run({ argv: ['sh', '-c', 'echo ready; read line; echo $line; exit 9'], stdin: 'pipe' })
  await until('ready', () => r.stdout.includes('ready'))
  await rig.stopDaemon()
  r.child.stdin?.write('late\n')
  await rig.startDaemon()
  t.match(await r.ended, { code: 9 })
  t.equal(r.stdout, 'ready\nlate\n')
})

t.test('a task started while vmrmd is away runs when it is back', async (t) => {
  await rig.stopDaemon()
  const r = rig.run({ argv: ['echo', 'hello'] })
  await rig.startDaemon()
  t.match(await r.ended, { code: 0 })
  t.equal(r.stdout, 'hello\n')
})

t.test('a session nobody claims after a restart is killed; one that is claimed lives', async (t) => {
  const lost = rig.run({ argv: ['sh', '-c', 'echo ready; exec sleep 1000'] })
  const kept = rig.run({ argv: ['sh', '-c', 'echo ready; read line; echo $line'], stdin: 'pipe' })
  await until('both', () => lost.stdout.includes('ready') && kept.stdout.includes('ready'))
  await rig.stopDaemon()
  lost.child.kill('SIGKILL')
  await lost.ended
  await rig.startDaemon()
  await until('the end of the orphan', async () => {
    rig.channel.renew('the test asks which sessions are left')
    await until('ready', () => rig.channel.state === 'ready')
    return rig.channel.info?.sessions.length === 1
  })
  kept.child.stdin?.end('still here\n')
  t.match(await kept.ended, { code: 0 })
  t.equal(kept.stdout, 'ready\nstill here\n')
})

t.test('a renewal in mid-stream loses nothing', async (t) => {
  const r = rig.run({ argv: ['seq', String(lines)] })
  for (let renewals = 0; renewals < 5; renewals++) {
    const before = r.stdoutBytes
    await until('bytes', () => r.stdoutBytes > before + 200_000 || r.child.exitCode !== null)
    rig.channel.renew('the test wants it')
  }
  t.match(await r.ended, { code: 0 })
  t.equal(r.digest.digest('hex'), expected)
})

// Streams through the real agent: every byte once and in order, over lost connections, slow readers and closed stdins.
import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { encodeFields, u32Field } from '../../../lib/guest/frame/fields.ts'
import { encodeFrame, frameType } from '../../../lib/guest/frame/frame.ts'
import { createRandom } from '../../support/random.ts'
import { until } from '../../support/until.ts'
import { Task } from './task.ts'
import { checkGuest, startGuest } from './with-agent.ts'

t.setTimeout(120_000)

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex')
const megabyte = 1 << 20

t.test('100 MB arrive intact both ways', async (t) => {
  const guest = await startGuest(t)
  const bytes = randomBytes(100 * megabyte)
  const task = new Task(guest.host, { argv: ['cat'], stdin: bytes, keepBytes: 0 })
  t.strictSame(await until('cat has ended', () => task.result, 100_000), { kind: 'exited', value: 0 })
  t.equal(task.stdout.received, bytes.length)
  t.equal(task.stdout.digest.digest('hex'), sha256(bytes))
  checkGuest(t, guest)
})

t.test('a task that writes little at a time is not taken off its CPU for a frame of each write', async (t) => {
  const guest = await startGuest(t)
  // The agent is process 1 of its namespace; what it starts from here on has to share this one CPU with it.
  guest.agent.inside(['taskset', '--cpu-list', '--pid', '0', '1'])
  const [writes, writeBytes] = [2048, 4096]
  const task = new Task(guest.host, {
    argv: ['dd', 'if=/dev/zero', `bs=${writeBytes}`, `count=${writes}`, 'status=none'],
    keepBytes: 0,
  })
  let frames = 0
  guest.host.sessions.set(task.id, {
    onFrame: (frame) => {
      if (frame.type === frameType.data) frames++
      task.onFrame(frame)
    },
    onRenewed: () => task.onRenewed(),
  })
  t.strictSame(await until('dd has ended', () => task.result, 60_000), { kind: 'exited', value: 0 })
  t.equal(task.stdout.received, writes * writeBytes)
  t.ok(frames < writes / 8, `${frames} frames of ${writes} writes`)
  checkGuest(t, guest)
})

t.test('bytes that are lost when the connection is cut are sent again', async (t) => {
  const random = createRandom()
  t.comment(`VMRM_TEST_SEED=${random.seed}`)
  const guest = await startGuest(t)
  const bytes = randomBytes(20 * megabyte)
  const tasks = [
    new Task(guest.host, { argv: ['cat'], stdin: bytes, keepBytes: 0 }),
    new Task(guest.host, {
      argv: ['sh', '-c', 'tee /dev/stderr'],
      stdin: bytes.subarray(0, 3 * megabyte),
      keepBytes: 0,
    }),
  ]
  let cuts = 0
  const planCut = (): void => {
    guest.host.cutAfterBytesIn = 1 + random.int(megabyte)
  }
  guest.host.onCut = () => {
    cuts++
    planCut()
  }
  planCut()
  for (const task of tasks) {
    t.strictSame(await until('the task has ended', () => task.result, 100_000), { kind: 'exited', value: 0 })
  }
  t.ok(cuts > 10, `${cuts} cuts`)
  t.equal(tasks[0]?.stdout.digest.digest('hex'), sha256(bytes), 'the first task: stdout')
  const start = sha256(bytes.subarray(0, 3 * megabyte))
  t.equal(tasks[1]?.stdout.digest.digest('hex'), start, 'the second task: stdout')
  t.equal(tasks[1]?.stderr.digest.digest('hex'), start, 'the second task: stderr')
  guest.host.cutAfterBytesIn = undefined
  checkGuest(t, guest)
})

t.test('a slow reader slows the writer and loses nothing', async (t) => {
  const guest = await startGuest(t)
  const task = new Task(guest.host, {
    argv: ['sh', '-c', 'head -c 3000000 /dev/zero; echo done >&2'],
    keepBytes: 0,
  })
  task.reading = 'slow'
  await until('the window is full', () => task.stdout.received === 262_144, 60_000)
  const other = new Task(guest.host, { argv: ['echo', 'others go on'] })
  t.strictSame(await other.ended(), { kind: 'exited', value: 0 })
  t.equal(task.stdout.received, 262_144, 'no more than the window came')
  t.equal(task.errText, '', 'the writer waits')
  task.readOn()
  t.strictSame(await task.ended(), { kind: 'exited', value: 0 })
  t.equal(task.stdout.received, 3_000_000)
  checkGuest(t, guest)
})

t.test('what a task leaves in its pipe when it ends still arrives, also at a slow reader', async (t) => {
  const guest = await startGuest(t)
  // 1031 is F_SETPIPE_SZ: the pipe holds far more than a window.
  const script = 'fcntl(STDOUT, 1031, 1 << 20) or die $!; syswrite(STDOUT, "y" x 900000) == 900000 or die $!; exit 3'
  const task = new Task(guest.host, { argv: ['perl', '-e', script], keepBytes: 0 })
  task.reading = 'slow'
  await until('the window is full', () => task.stdout.received === 262_144, 60_000)
  task.readOn()
  t.strictSame(await task.ended(), { kind: 'exited', value: 3 }, task.errText)
  t.equal(task.stdout.received, 900_000)
  checkGuest(t, guest)
})

t.test('stdin that nobody reads is dropped and acknowledged', async (t) => {
  const guest = await startGuest(t)
  const matrix = [
    ['closed early', 'exec <&-; echo closed; sleep 0.2; exit 3', 3],
    ['ended early', 'head -c 10 >/dev/null; exit 4', 4],
  ] as const
  for (const [name, script, value] of matrix) {
    const task = new Task(guest.host, { argv: ['sh', '-c', script], stdin: randomBytes(5 * megabyte) })
    t.strictSame(await task.ended(), { kind: 'exited', value }, name)
    task.close()
  }
  checkGuest(t, guest)
})

t.test('the end of stdin is the end of the pipe', async (t) => {
  const guest = await startGuest(t)
  const task = new Task(guest.host, { argv: ['sh', '-c', 'echo ready; wc -c'], stdin: 'open' })
  await task.printed('ready')
  task.writeStdin('12345')
  t.equal(task.result, undefined, 'it waits for more')
  task.endStdin()
  t.strictSame(await task.ended(), { kind: 'exited', value: 0 })
  t.equal(task.outText, 'ready\n5\n')
  checkGuest(t, guest)
})

t.test('bytes that are lost without a disconnect are asked for once', async (t) => {
  const guest = await startGuest(t)
  const task = new Task(guest.host, { argv: ['cat'], stdin: 'open' })
  await guest.host.until('the task runs', () => task.isOpened)
  task.loseStdin('lost ')
  task.writeStdin('and found')
  task.endStdin()
  t.strictSame(await task.ended(), { kind: 'exited', value: 0 })
  t.equal(task.outText, 'lost and found')
  t.equal(task.resumesHeard, 1)
  checkGuest(t, guest)
})

t.test('a greeting is heard behind a half frame and behind garbage', async (t) => {
  const guest = await startGuest(t)
  const half = encodeFrame({ type: frameType.data, session: 5n, payload: randomBytes(60_000) }).subarray(0, 30_000)
  for (const [name, bytes] of [
    ['half a frame', half],
    ['half a header', half.subarray(0, 20)],
    ['garbage', randomBytes(5000)],
    ['a header that lies about its length', Buffer.from('VMRM\0\0\0\0\0\0\0\0\xff\xff\xff\xff', 'latin1')],
  ] as const) {
    guest.host.sendBytes(bytes)
    guest.host.sendHello()
    t.match(await guest.host.greeted(), { state: 'identified' }, name)
  }
  checkGuest(t, guest)
})

t.test('the end is told again until the client has it', async (t) => {
  const guest = await startGuest(t)
  const ended = new Task(guest.host, { argv: ['sh', '-c', 'echo text; exit 5'] })
  const failed = new Task(guest.host, { argv: ['/no/such'] })
  await ended.ended()
  await failed.ended()
  for (let round = 2; round <= 4; round++) {
    guest.host.cut()
    const hello = await guest.host.greeted()
    t.strictSame(new Set(hello.sessions), new Set([ended.id, failed.id]), 'both sessions are named')
    await guest.host.until('both ends again', () => ended.results === round && failed.results === round)
  }
  t.equal(ended.outText, 'text\n', 'the output came once')
  ended.close()
  failed.close()
  guest.host.sendHello()
  t.strictSame((await guest.host.greeted()).sessions, [], 'after CLOSE they are forgotten')
  const stranger = new Task(guest.host, { argv: ['true'] })
  stranger.close()
  guest.host.sessions.set(stranger.id, stranger)
  stranger.onRenewed()
  t.match(await stranger.ended(), { kind: 'error', code: 'no-such-session' })
  checkGuest(t, guest)
})

t.test('nothing of a session comes between a greeting and its RESUME', async (t) => {
  const guest = await startGuest(t)
  const task = new Task(guest.host, { argv: ['sh', '-c', 'while :; do echo x; sleep 0.01; done'] })
  await task.printed('x\n')
  guest.host.sessions.delete(task.id)
  guest.host.sendHello()
  await guest.host.greeted()
  let frames = 0
  guest.host.sessions.set(task.id, { onFrame: () => frames++, onRenewed: () => {} })
  guest.host.send({ type: frameType.ping, payload: encodeFields([[1, u32Field(7)]]) })
  await guest.host.until('PONG', () => guest.host.daemonFrames.some((f) => f.type === frameType.pong))
  t.equal(frames, 0)
  guest.host.sessions.set(task.id, task)
  const before = task.stdout.received
  task.onRenewed()
  await guest.host.until('output goes on', () => task.stdout.received > before + 10)
  checkGuest(t, guest)
})

// What someone on the network, or a user with munged at hand, can try against the sealed transport; all of it must fail.
// Three munged share a key, as three hosts do: MUNGE's own replay protection does not span them.
import { execFileSync, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { mungeEncode } from '../../lib/munge/client.ts'
import { writeMessage } from '../../lib/protocol/envelope.ts'
import { FrameReader, toFrame } from '../../lib/protocol/transport/framing.ts'
import { type MungeClientEnd, mungeClientChannel } from '../../lib/protocol/transport/munge-channel.ts'
import { startMunged } from '../support/munged.ts'
import { ownUid, serve } from '../support/protocol/fixtures.ts'
import { type Meddle, startRelay } from '../support/protocol/relay.ts'

const key = randomBytes(64)
const [hostA, hostB, hostC] = await Promise.all([startMunged({ key }), startMunged({ key }), startMunged({ key })])
t.teardown(() => Promise.all([hostA.stop(), hostB.stop(), hostC.stop()]))
const onHostB = { munge: { socketPath: hostB.socketPath } }
const onHostC = { munge: { socketPath: hostC.socketPath } }

async function victim(t: Test, meddle?: Meddle) {
  const ended: number[] = []
  const fixture = await serve(t, {
    munged: hostA,
    handlers: {
      'run-end': () => ({}),
      'destroy-run': () => ({}),
      'get-verdict': ({ job }) => {
        ended.push(job)
        return { verdict: 'commit' }
      },
    },
  })
  const relay = await startRelay(t, fixture.server.port ?? 0, meddle)
  const ask = (job: number, change: object = {}, timeoutMs = 5_000) =>
    fixture
      .client('munge', { port: relay.port, name: 'n1', ...onHostB, ...change })
      .call('get-verdict', { job, restart: 0, node: 'n1' }, { timeoutMs })
  return { fixture, relay, ended, ask }
}

/** Sends frames as they are and collects what comes back until the server closes. */
function sendRaw(t: Test, port: number, frames: readonly Uint8Array[]): Promise<Buffer[]> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const reader = new FrameReader()
  const answers: Buffer[] = []
  return new Promise((resolve) => {
    socket.on('data', (chunk) => answers.push(...reader.push(chunk)))
    socket.on('error', () => {})
    socket.on('close', () => resolve(answers))
    for (const frame of frames) socket.write(frame)
  })
}

t.test('a recorded session does not act on another host that answers to the same name', async (t) => {
  const recorded = await victim(t)
  t.same(await recorded.ask(1), { verdict: 'commit' })
  const frames = recorded.relay.seen.filter(({ direction }) => direction === 'to-server').map(({ frame }) => frame)
  t.equal(frames.length, 2, 'a greeting and a request')

  const acted: number[] = []
  const other = await serve(t, {
    munged: hostC,
    handlers: {
      'get-verdict': ({ job }) => {
        acted.push(job)
        return { verdict: 'commit' }
      },
    },
  })
  const answers = await sendRaw(t, other.server.port ?? 0, frames.map(toFrame))
  t.equal(answers.length, 1, 'the greeting is answered, sealed to the victim; the request ends the connection')
  t.same(acted, [])
  const same = await sendRaw(t, recorded.fixture.server.port ?? 0, frames.map(toFrame))
  t.same(same, [], 'on the same host MUNGE itself refuses')
  t.same(recorded.ended, [1])
})

t.test('frames that are repeated, dropped or swapped end the connection before anything acts on them', async (t) => {
  const cases: [string, Meddle, number[]][] = [
    [
      'repeated',
      ({ frame, nth, direction }) => (direction === 'to-server' && nth === 1 ? [frame, frame] : [frame]),
      [1],
    ],
    ['dropped', ({ frame, nth, direction }) => (direction === 'to-server' && nth === 1 ? [] : [frame]), []],
    ['swapped', swapper('to-server'), []],
  ]
  for (const [name, meddle, allowed] of cases) {
    const { ended, fixture, relay } = await victim(t, meddle)
    const client = fixture.client('munge', { port: relay.port, name: 'n1', ...onHostB })
    const calls = [1, 2].map((job) => client.call('get-verdict', { job, restart: 0, node: 'n1' }, { timeoutMs: 5_000 }))
    const results = await Promise.allSettled(calls)
    t.match(
      results[1],
      { status: 'rejected', reason: { code: 'controller-unreachable' } },
      `${name}: the caller is told`,
    )
    t.same(ended, allowed, `${name}: only what was in order acted`)
  }
})

/** Holds the second frame of a direction back until the third has passed. */
function swapper(swapped: string): Meddle {
  let held: Buffer | undefined
  return ({ frame, nth, direction }) => {
    if (direction !== swapped) return [frame]
    if (nth === 1) {
      held = frame
      return []
    }
    return nth === 2 && held !== undefined ? [frame, held] : [frame]
  }
}

t.test('replies that are swapped, repeated or recorded on another connection are not believed', async (t) => {
  const first = await victim(t)
  await first.ask(1)
  const recorded =
    first.relay.seen.filter(({ direction }) => direction === 'to-client').at(-1)?.frame ?? Buffer.alloc(0)
  const cases: [string, Meddle][] = [
    ['swapped', swapper('to-client')],
    ['recorded', ({ frame, nth, direction }) => [direction === 'to-client' && nth === 1 ? recorded : frame]],
    ['repeated', ({ frame, nth, direction }) => (direction === 'to-client' && nth === 1 ? [frame, frame] : [frame])],
  ]
  for (const [name, meddle] of cases) {
    const { fixture, relay } = await victim(t, meddle)
    // A host of its own, so that it is not MUNGE's replay cache that saves it.
    const end = name === 'recorded' ? onHostC : onHostB
    const client = fixture.client('munge', { port: relay.port, name: 'n1', ...end })
    const calls = [1, 2].map((job) => client.call('get-verdict', { job, restart: 0, node: 'n1' }, { timeoutMs: 5_000 }))
    const results = await Promise.allSettled(calls)
    t.match(
      results[1],
      { status: 'rejected', reason: { code: 'controller-unreachable', message: /cannot be trusted/ } },
      name,
    )
  }
})

t.test('a request reflected to its sender is no reply', async (t) => {
  for (const at of [0, 1]) {
    const reflect: Meddle = ({ frame, nth, direction, back }) => {
      if (direction === 'to-server' && nth === at) {
        back(frame)
        return []
      }
      return [frame]
    }
    const { ask } = await victim(t, reflect)
    await t.rejects(ask(1), { code: 'controller-unreachable', message: /sealed\/@direction/ }, `message ${at}`)
  }
})

t.test('a greeting that was recorded does not start a connection', async (t) => {
  const first = await victim(t)
  await first.ask(1)
  const greeting = first.relay.seen.find(({ direction }) => direction === 'to-client')?.frame ?? Buffer.alloc(0)
  const { ask } = await victim(t, ({ frame, nth, direction }) => [
    direction === 'to-client' && nth === 0 ? greeting : frame,
  ])
  await t.rejects(ask(1, onHostC), { code: 'controller-unreachable', message: /sealed\/@connection/ })
})

t.test('a message for another destination is refused', async (t) => {
  const { ask, ended } = await victim(t)
  await t.rejects(ask(1, { to: 'n7' }), { code: 'controller-unreachable' })
  t.same(ended, [])
})

t.test('only root and SlurmUser are believed as the other end', async (t) => {
  const { ask, ended } = await victim(t)
  await t.rejects(ask(1, { trustedUids: [4242] }), { code: 'controller-unreachable', message: /may not answer/ })
  t.same(ended, [], 'the client tells nothing before it knows whom it talks to')
})

t.test('nobody else can read what was sent', async (t) => {
  const { ask, relay } = await victim(t, ({ frame, nth, direction }) =>
    direction === 'to-client' && nth === 1 ? [] : [frame],
  )
  await t.rejects(ask(1, {}, 300))
  const captured = relay.seen.filter(({ direction }) => direction === 'to-client').at(-1)?.frame
  const { stdout, stderr, status } = spawnSync('/usr/bin/unmunge', ['-S', hostC.socketPath], {
    input: captured,
    uid: 65534,
    gid: 65534,
    timeout: 10_000,
    encoding: 'utf8',
  })
  t.not(status, 0)
  t.match(stderr, /Unauthorized/)
  t.notMatch(stdout, /sealed/)
})

t.test('credentials that are not made as they must be are refused', async (t) => {
  const { fixture, ended } = await victim(t)
  const port = fixture.server.port ?? 0
  const nonce = '0'.repeat(32)
  const sealed = (xml: string, change: object = {}) => {
    const seal = {
      version: '1',
      to: 'controller',
      from: 'user',
      direction: 'request',
      sequence: 0,
      connection: nonce,
      ...change,
    }
    return Buffer.from(
      `<sealed ${Object.entries(seal)
        .map(([name, value]) => `${name}="${value}"`)
        .join(' ')}>${xml}</sealed>`,
    )
  }
  const greeting = writeMessage({ id: 0, kind: 'request', type: 'greeting' }, {})
  const call = writeMessage({ id: 1, kind: 'request', type: 'get-verdict' }, { job: 9, restart: 0, node: 'n1' })
  const encode = async (payload: Uint8Array, restriction: object = { uidRestriction: ownUid }) =>
    toFrame(Buffer.from(await mungeEncode({ payload, socketPath: hostB.socketPath, ...restriction })))
  const byNobody = (payload: Buffer) => {
    const argv = ['-S', hostB.socketPath, `--restrict-uid=${ownUid}`]
    const options = { input: payload, uid: 65534, gid: 65534, timeout: 10_000 }
    return toFrame(Buffer.from(execFileSync('/usr/bin/munge', argv, options).toString().trim()))
  }
  const cases: [string, Uint8Array, RegExp][] = [
    ['not restricted to a uid', await encode(sealed(greeting), {}), /not restricted/],
    ['a call before the greeting', await encode(sealed(call)), /greeting must come first/],
    ['a sequence that does not start at 0', await encode(sealed(greeting, { sequence: 1 })), /@sequence/],
    ['a reply as the first message', await encode(sealed(greeting, { direction: 'reply' })), /@direction/],
    ['for another destination', await encode(sealed(greeting, { to: 'n1' })), /@to/],
    ['an attribute too many', await encode(sealed(greeting, { more: 1 })), /unknown attribute more/],
    ['two messages', await encode(sealed(greeting + call)), /does not hold one message/],
    ['no message', await encode(sealed('')), /does not hold one message/],
    ['no XML', await encode(Buffer.from('hello')), /outside the root/],
    ['nothing', await encode(Buffer.alloc(0)), /no element/],
    ['a plain message', toFrame(Buffer.from(call)), /not a credential/],
    ['a user who claims to be a node', byNobody(sealed(greeting, { from: 'n1' })), /may not speak for n1/],
    ['a frame over 512 KiB', Buffer.concat([Buffer.from([0, 8, 0, 1]), Buffer.alloc(100)]), /length is 524289/],
    ['a frame of 4 GiB', Buffer.from([255, 255, 255, 255, 0]), /length is 4294967295/],
    ['an empty frame', Buffer.alloc(4), /length is 0/],
  ]
  for (const [name, frame, reason] of cases) {
    t.same(await sendRaw(t, port, [frame]), [], `${name}: closed without an answer`)
    t.match(fixture.logged.at(-1), reason, `${name}: for that reason`)
  }
  t.same(ended, [])
})

t.test('another user cannot go on where root has begun', async (t) => {
  const { fixture, ended } = await victim(t)
  const port = fixture.server.port ?? 0
  const { name: _, ...rest } = fixture.connectOf('munge') as MungeClientEnd & { kind: string }
  const channel = mungeClientChannel({ ...rest, name: 'n1', ...onHostB })
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const reader = new FrameReader()
  socket.write(toFrame((await channel.greeting?.request()) ?? Buffer.alloc(0)))
  const [answer] = await new Promise<Buffer[]>((resolve) => {
    const frames: Buffer[] = []
    socket.on('data', (chunk: Buffer) => {
      frames.push(...reader.push(chunk))
      if (frames.length > 0) resolve(frames)
    })
  })
  await channel.greeting?.accept(answer ?? Buffer.alloc(0))
  const call = writeMessage({ id: 1, kind: 'request', type: 'get-verdict' }, { job: 9, restart: 0, node: 'n1' })
  const mine = await channel.seal(call)
  const text = execFileSync('/usr/bin/unmunge', ['-S', hostC.socketPath, '--metadata=/dev/null'], {
    input: mine,
    timeout: 10_000,
  })
  const argv = ['-S', hostB.socketPath, `--restrict-uid=${ownUid}`]
  const theirs = execFileSync('/usr/bin/munge', argv, { input: text, uid: 65534, gid: 65534, timeout: 10_000 })
  const closed = new Promise((resolve) => socket.once('close', resolve))
  socket.write(toFrame(Buffer.from(theirs.toString().trim())))
  await closed
  t.match(fixture.logged.at(-1), /of another user than the connection/)
  t.same(ended, [])
})

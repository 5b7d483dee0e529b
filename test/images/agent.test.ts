// The tiny image with the real agent: a VM started by hand takes on an identity and runs a user's command.
import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { loadImage } from '../../lib/config/load.ts'
import { encodeIdentity, type GuestIdentity } from '../../lib/guest/channel/identity.ts'
import { decodeFields, encodeFields, textOf, u32Field, u32Of } from '../../lib/guest/frame/fields.ts'
import { encodeFrame, type Frame, type FrameFields, frameType, streamNumber } from '../../lib/guest/frame/frame.ts'
import { FrameReader } from '../../lib/guest/frame/frame-reader.ts'
import { flagEnd } from '../guest/stream-fields.ts'
import { bootByHand, handMac } from '../support/qemu-by-hand.ts'
import { sha256OfFile } from './stamp.ts'

const project = join(import.meta.dirname, '../..')
const output = '/var/tmp/vmrm-images'
const bootMs = 60_000
const answerMs = 30_000
const session = 0x1234_5678_9abc_def0n

const identity: GuestIdentity = {
  run: 'j7r0',
  hostname: 'tiny-0007',
  node: 'n1',
  nics: [{ mac: handMac, address: '10.0.2.15/24', mtu: 1400 }],
  hosts: { addresses: '10.0.2.15', hostnames: 'tiny-0007', nodes: 'n1', vms: '1' },
  user: { name: 'alice', uid: 5001, gid: 5001, home: '/home/alice', shell: '/bin/bash', gecos: 'Alice A.' },
  groups: [
    { name: 'alice', gid: 5001 },
    { name: 'physics', gid: 6001 },
  ],
  mounts: [],
  commands: [],
  timeNs: 2_000_000_000_000_000_000n,
  entropy: Buffer.alloc(32, 7),
}

/** Speaks to the agent: sends frames and collects what comes. */
class AgentClient {
  readonly frames: Frame[] = []
  readonly #socket: Socket
  #wake: () => void = () => {}

  constructor(socket: Socket) {
    this.#socket = socket
    const reader = new FrameReader({
      frame: (frame) => {
        this.frames.push(frame)
        this.#wake()
      },
      fault: (fault) => t.fail(`the agent sent no frame: ${fault}`),
    })
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
  }

  send(fields: FrameFields): void {
    this.#socket.write(encodeFrame(fields))
  }

  /** The first frame of these types, come or to come. */
  async next(types: readonly number[]): Promise<Frame> {
    const deadline = AbortSignal.timeout(answerMs)
    for (;;) {
      const found = this.frames.find((frame) => types.includes(frame.type))
      if (found !== undefined) return found
      await new Promise<void>((resolve, reject) => {
        this.#wake = resolve
        deadline.onabort = () => reject(new Error(`no frame of type ${types.join(' or ')} within ${answerMs} ms`))
      })
    }
  }

  text(stream: number): string {
    const data = this.frames.filter((frame) => frame.type === frameType.data && frame.stream === stream)
    return Buffer.concat(data.map((frame) => frame.payload)).toString()
  }
}

function openSession(client: AgentClient, script: string): void {
  const spec = encodeFields([
    [1, '/bin/bash'],
    [1, '-c'],
    [1, script],
    [2, 'PATH=/usr/bin:/bin'],
    [2, 'LC_ALL=C.UTF-8'],
    [3, '/'],
    [4, u32Field(0o027)],
    [10, 'null'],
  ])
  client.send({ type: frameType.open, session })
  client.send({ type: frameType.data, session, stream: streamNumber.spec, flags: flagEnd, payload: spec })
}

async function bootToAgent(test: Test) {
  const vm = await bootByHand({ image: loadImage(join(output, 'tiny.xml')), cpus: 2 })
  test.teardown(() => vm.stop())
  const answer = await vm.awaitAgent(bootMs)
  test.teardown(() => answer.socket.destroy())
  return answer
}

t.setTimeout(600_000)

t.before(async () => {
  const agent = join(project, 'build/c/vmrm-agent')
  if (!existsSync(agent)) await execa('/usr/bin/make', ['-C', join(project, 'lib/guest')], { timeout: 120_000 })
  await execa(join(import.meta.dirname, 'build'), ['tiny'], { timeout: 240_000 })
})

t.test('a VM takes on its identity and runs a command as the user', async (test) => {
  const { socket, fields, afterMs } = await bootToAgent(test)
  test.comment(`agent answered ${Math.round(afterMs)} ms after QEMU's start`)
  test.equal(textOf(fields, 4), 'fresh')
  const client = new AgentClient(socket)

  client.send({ type: frameType.identity, payload: encodeIdentity(identity) })
  const done = await client.next([frameType.identityDone])
  test.equal(textOf(decodeFields(done.payload) ?? [], 1), undefined, 'no complaint')

  const script =
    'id -un; id -Gn; hostname; ip -4 -o addr show eth0; getent hosts n1; nproc; date +%s; umask; pwd; echo oops >&2; exit 7'
  openSession(client, script)
  const end = await client.next([frameType.exit, frameType.error])
  test.equal(end.type, frameType.exit, end.payload.toString('latin1').replaceAll('\0', ' '))
  const exit = decodeFields(end.payload) ?? []
  test.equal(textOf(exit, 1), 'exited')
  test.equal(u32Of(exit, 2), 7)
  const [user, groups, hostname, address, host, cpus, seconds, mask, folder] = client
    .text(streamNumber.stdout)
    .split('\n')
  test.equal(user, 'alice')
  test.same(groups?.split(' ').sort(), ['alice', 'physics'])
  test.equal(hostname, 'tiny-0007')
  test.match(address, /10\.0\.2\.15\/24/)
  test.match(host, /10\.0\.2\.15/)
  test.equal(cpus, '2')
  test.ok(Math.abs(Number(seconds) - 2_000_000_000) < 60, `the clock was set: ${seconds}`)
  test.equal(mask, '0027')
  test.equal(folder, '/')
  test.equal(client.text(streamNumber.stderr), 'oops\n')
  client.send({ type: frameType.close, session })
})

t.test('the master is the same afterwards', async (test) => {
  const { master } = loadImage(join(output, 'tiny.xml'))
  test.equal(await sha256OfFile(master.path), master.sha256)
})

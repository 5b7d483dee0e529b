// The agent behind a real virtio-serial port, in a VM: connections that QEMU drops, and what the port loses with them.
import { createHash, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'
import { loadImage } from '../../../lib/config/load.ts'
import { identityTag as tag } from '../../../lib/guest/channel/identity.ts'
import { joinTexts, u64Field } from '../../../lib/guest/frame/fields.ts'
import { bootByHand, handMac } from '../../support/qemu-by-hand.ts'
import { createRandom } from '../../support/random.ts'
import { until } from '../../support/until.ts'
import { Host } from './host.ts'
import { Task } from './task.ts'
import { userFields } from './with-agent.ts'

const project = join(import.meta.dirname, '../../..')

t.setTimeout(600_000)

t.before(async () => {
  await execa('/usr/bin/make', ['-s', '-C', join(project, 'lib/guest')], { timeout: 120_000 })
  await execa(join(project, 'test/images/build'), ['tiny'], { timeout: 240_000 })
})

t.test('in a VM: identity, streams over dropped connections, no process left', async (t) => {
  const vm = await bootByHand({ image: loadImage('/var/tmp/vmrm-images/tiny.xml'), cpus: 2 })
  t.teardown(() => vm.stop())
  const host = Host.connect(vm.portPath)
  t.teardown(() => host.close())
  const seen = await until('the first greeting', () => host.hello, 60_000)
  t.match(seen, { state: 'fresh' })
  const complaint = await host.identify([
    ...userFields,
    [tag.hostname, 'tiny7'],
    [tag.nic, joinTexts([handMac, '10.0.2.15/24', '1400'])],
    [tag.gateway, '10.0.2.2'],
    [tag.time, u64Field(2_000_000_000_000_000_000n)],
    [tag.entropy, randomBytes(32)],
  ])
  t.equal(complaint, '')

  const facts = new Task(host, {
    argv: [
      'sh',
      '-c',
      'id -u; hostname; date +%Y; cat /proc/self/cgroup; ip route 2>/dev/null | head -1; readlink /proc/self/fd/2',
    ],
  })
  t.strictSame(await facts.ended(), { kind: 'exited', value: 0 }, facts.errText)
  t.match(facts.outText, /^4321\ntiny7\n2033\n0::\/.*vmrm-session-[0-9a-f]{16}\n/)
  facts.close()

  const random = createRandom()
  t.comment(`VMRM_TEST_SEED=${random.seed}`)
  const bytes = randomBytes(12 << 20)
  const task = new Task(host, { argv: ['cat'], stdin: bytes, keepBytes: 0 })
  let cuts = 0
  const plan = (): void => {
    host.cutAfterBytesIn = 1 + random.int(1 << 20)
  }
  host.onCut = () => {
    cuts++
    plan()
  }
  plan()
  t.strictSame(await until('cat has ended', () => task.result, 120_000), { kind: 'exited', value: 0 })
  host.cutAfterBytesIn = undefined
  host.onCut = undefined
  t.equal(
    task.stdout.digest.digest('hex'),
    createHash('sha256').update(bytes).digest('hex'),
    `intact over ${cuts} cuts`,
  )
  t.ok(cuts >= 5, `${cuts} cuts`)
  task.close()

  // A daemon that stays away: the agent waits without using the CPU, and the task goes on.
  const waiting = new Task(host, { argv: ['sh', '-c', 'echo up; read x; echo "$x"'], stdin: 'open' })
  await waiting.printed('up')
  host.cut()
  await until('the greeting after the cut', () => host.hello)
  waiting.writeStdin('still there\n')
  t.strictSame(await waiting.ended(), { kind: 'exited', value: 0 })
  t.equal(waiting.outText, 'up\nstill there\n')

  const started = performance.now()
  const size = 50_000_000
  const fast = new Task(host, { argv: ['head', '-c', String(size), '/dev/zero'], keepBytes: 0 })
  t.strictSame(await until('head has ended', () => fast.result, 60_000), { kind: 'exited', value: 0 })
  t.comment(`${Math.round(size / 1000 / (performance.now() - started))} MB/s out of the guest`)
  const times: number[] = []
  for (let i = 0; i < 10; i++) {
    const from = performance.now()
    const quick = new Task(host, { argv: ['/bin/true'] })
    await quick.ended()
    times.push(performance.now() - from)
    quick.close()
  }
  t.comment(`OPEN to EXIT of /bin/true: ${times.sort((a, b) => a - b)[5]?.toFixed(1)} ms`)
  t.strictSame(host.faults, [])
})

t.test('in a VM: an agent that dies comes back, finds its port without udev, and kills what it left', async (t) => {
  const vm = await bootByHand({ image: loadImage('/var/tmp/vmrm-images/tiny.xml') })
  t.teardown(() => vm.stop())
  const host = Host.connect(vm.portPath)
  t.teardown(() => host.close())
  await until('the first greeting', () => host.hello, 60_000)
  const root = [[tag.user, joinTexts(['root', '0', '0', '/root', '/bin/sh', ''])]] as const
  t.equal(await host.identify(root), '')
  const script = 'setsid sleep 7654323 & rm -r /dev/virtio-ports; echo up; kill -KILL $PPID; sleep 7654323'
  const task = new Task(host, { argv: ['sh', '-c', script], stdin: 'null' })
  // Its "up" may be lost with the agent.
  host.sessions.delete(task.id)
  await until('another agent', async () => {
    host.sendHello()
    return (await host.greeted()).sessions.length === 0
  })
  t.match(host.hello, { state: 'fresh' })
  t.equal(await host.identify(root), '')
  const look = new Task(host, { argv: ['sh', '-c', 'ps -eo stat=,comm=; [ ! -e /dev/virtio-ports ]'] })
  t.strictSame(await look.ended(), { kind: 'exited', value: 0 }, 'the link is gone')
  t.match(look.outText, /^\S+\s+vmrm-agent$/m)
  // The guest's init may reap late.
  t.notMatch(look.outText, /^[^Z]\S*\s+sleep$/m, 'what the first agent ran is gone')
})

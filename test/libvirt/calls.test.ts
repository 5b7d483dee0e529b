// Calls against a fake libvirtd: what happens when answers come late, out of order, in pieces, wrong or not at all.
import t, { type Test } from 'tap'
import { connectLibvirt, isNoDomain, type LibvirtConnection, LibvirtError } from '../../lib/libvirt/index.ts'
import { silentLog } from '../../lib/log.ts'
import { FakeLibvirtd } from '../fakes/libvirtd/fake-libvirtd.ts'
import type { Fault } from '../fakes/libvirtd/wire.ts'
import { until } from '../support/until.ts'

type Settings = Parameters<typeof FakeLibvirtd.start>[0]
type Extra = Partial<Parameters<typeof connectLibvirt>[0]>

const domainXml = (name: string): string =>
  `<domain><name>${name}</name><memory unit='MiB'>32</memory><vcpu>2</vcpu></domain>`

async function start(
  t: Test,
  options: { fake?: Settings; connect?: Extra } = {},
): Promise<{ fake: FakeLibvirtd; connection: LibvirtConnection }> {
  const fake = await FakeLibvirtd.start(options.fake)
  t.teardown(() => fake.stop())
  const { socketPath } = fake
  const connection = await connectLibvirt({ socketPath, uri: 'qemu:///system', log: silentLog, ...options.connect })
  t.teardown(() => connection.close())
  return { fake, connection }
}

t.test('every call does what its name says', async (t) => {
  const { fake, connection } = await start(t)
  t.equal(await connection.libVersion(), 9_000_000)
  t.equal(await connection.hostname(), 'fake')
  t.equal(await connection.capabilities(), '<capabilities/>')
  const domain = await connection.createXml(domainXml('a'), ['paused'])
  t.same(await connection.lookupByName('a'), domain)
  t.equal(await connection.lookupByName('b'), undefined)
  t.same(await connection.listDomains(), [domain])
  t.same(await connection.state(domain), { state: 'paused', reason: 1 })
  await connection.resume(domain)
  t.same(await connection.state(domain), { state: 'running', reason: 5 })
  await connection.suspend(domain)
  t.equal(await connection.xml(domain, ['secure']), domainXml('a'))
  t.same(await connection.info(domain), { maxMemoryKib: 32_768, memoryKib: 32_768, vcpus: 2, cpuTimeNs: 2n ** 60n })
  await connection.pinVcpu(domain, { vcpu: 1, cpus: [0, 9, 10], hostCpus: 12 })
  t.equal(fake.domains.byName('a').pins.get(1)?.toString('hex'), '0106')
  const answer = JSON.parse(await connection.qemuMonitorCommand(domain, '{"execute":"query-status"}'))
  t.same(answer, { return: { status: 'paused', running: false } })
  await connection.save(domain, '/saved')
  t.same(await connection.listDomains(), [])
  await connection.restore('/saved', { flags: ['running'] })
  t.equal((await connection.state(domain)).state, 'running')
  await connection.shutdown(domain)
  t.equal(await connection.destroy(domain), 'not-running')
  t.equal(await connection.destroy(await connection.createXml(domainXml('c'), [])), 'destroyed')
})

t.test("libvirt's refusals keep their number, part and words", async (t) => {
  const { connection } = await start(t)
  const domain = await connection.createXml(domainXml('a'), [])
  const error = await connection.createXml(domainXml('a'), []).catch((thrown: unknown) => thrown)
  t.ok(error instanceof LibvirtError)
  const { code, libvirtCode, libvirtDomain, message } = error as LibvirtError
  t.same({ code, libvirtCode, libvirtDomain }, { code: 'libvirt-error', libvirtCode: 9, libvirtDomain: 10 })
  t.equal(message, "libvirt could not create a domain: domain 'a' already exists")
  await connection.destroy(domain)
  t.ok(isNoDomain(await connection.state(domain).catch((thrown: unknown) => thrown)))
})

t.test('replies out of order reach their own callers', async (t) => {
  const { fake, connection } = await start(t, { connect: { maxCallsInFlight: 21 } })
  fake.holding.add('createXml')
  const names = Array.from({ length: 20 }, (_, index) => `d${index}`)
  const creates = names.map((name) => connection.createXml(domainXml(name), []))
  await until('all 20 creates are with the fake', () => fake.held.length === 20)
  t.equal(await connection.hostname(), 'fake', 'a call made later is answered first')
  for (const held of fake.held.reverse()) held.send()
  t.same(
    (await Promise.all(creates)).map((domain) => domain.name),
    names,
  )
})

t.test('replies and events that arrive byte by byte are whole', async (t) => {
  const { fake, connection } = await start(t)
  const events: string[] = []
  connection.onLifecycle(({ domain, event, detail }) => events.push(`${domain.name} ${event} ${detail}`))
  fake.client.wire.splitting = 'bytes'
  const [a, b] = await Promise.all(['a', 'b'].map((name) => connection.createXml(domainXml(name), [])))
  t.same([a?.name, b?.name], ['a', 'b'])
  if (a !== undefined) await connection.suspend(a)
  t.same(events, ['a started 0', 'b started 0', 'a suspended 0'])
})

t.test(
  'no more calls are with libvirtd than allowed, one place is kept for what cannot hang, and the rest follow',
  async (t) => {
    const { fake, connection } = await start(t, { connect: { maxCallsInFlight: 3 } })
    const domain = await connection.createXml(domainXml('a'), [])
    fake.holding.add('createXml')
    const creates = ['b', 'c', 'd', 'e'].map((name) => connection.createXml(domainXml(name), []))
    t.equal(await connection.destroy(domain), 'destroyed', 'destroy passes creates that hang')
    t.equal(fake.held.length, 2, 'two of three places for creates')
    for (let sent = 0; sent < creates.length; sent++) {
      const held = await until('another create', () => fake.held[sent])
      held.send()
    }
    t.equal((await Promise.all(creates)).length, 4)
  },
)

t.test('what cannot hang is limited too', async (t) => {
  const { fake, connection } = await start(t, { connect: { maxCallsInFlight: 3 } })
  fake.holding.add('getHostname')
  const calls = Array.from({ length: 5 }, () => connection.hostname())
  await until('three are with the fake', () => fake.held.length === 3)
  fake.held[1]?.send()
  await until('one more follows', () => fake.held.length === 4)
  fake.holding.clear()
  for (const index of [0, 2, 3]) fake.held[index]?.send()
  t.same(await Promise.all(calls), Array(5).fill('fake'))
  t.equal(fake.held.length, 4)
})

t.test('a call that takes too long is given up, and its late reply harms nobody', async (t) => {
  const { fake, connection } = await start(t, { connect: { maxCallsInFlight: 2 } })
  fake.holding.add('createXml')
  const sent = connection.createXml(domainXml('a'), [], { timeoutMs: 50 })
  const queued = connection.createXml(domainXml('b'), [], { timeoutMs: 20 })
  await t.rejects(queued, { code: 'libvirt-timeout', message: /not asked yet/ })
  await t.rejects(sent, { code: 'libvirt-timeout', message: /may still happen/ })
  fake.holding.clear()
  fake.held[0]?.send()
  t.equal((await connection.createXml(domainXml('c'), [])).name, 'c')
  t.same(
    fake.domains.list().map((ref) => ref.name),
    ['a', 'c'],
    'what was never sent never happened',
  )
})

t.test('an abort ends the wait at once with its reason, before and after sending', async (t) => {
  const { fake, connection } = await start(t)
  fake.holding.add('createXml')
  const controller = new AbortController()
  const reason = new Error('the job was cancelled')
  const call = connection.createXml(domainXml('a'), [], { signal: controller.signal })
  await until('the create is with the fake', () => fake.held.length === 1)
  controller.abort(reason)
  t.equal(await call.catch((error: unknown) => error), reason)
  const again = connection.createXml(domainXml('b'), [], { signal: controller.signal })
  t.equal(await again.catch((error: unknown) => error), reason)
  t.equal(fake.received.filter((name) => name === 'createXml').length, 1, 'the second was never sent')
})

t.test('what breaks the stream ends the connection, and every waiter fails at once', async (t) => {
  const faults: readonly Fault[] = [
    'cut',
    'oversized',
    'undersized',
    'wrong-serial',
    'wrong-procedure',
    'wrong-status',
    'stream',
  ]
  for (const fault of faults) {
    const { fake, connection } = await start(t)
    const reasons: unknown[] = []
    connection.onClose((reason) => reasons.push(reason))
    fake.holding.add('createXml')
    const waiting = ['a', 'b', 'c', 'd', 'e', 'f'].map((name) => connection.createXml(domainXml(name), []))
    await until('the creates are with the fake', () => fake.held.length === 3)
    fake.client.wire.nextFault = fault
    const outcomes = await Promise.allSettled([...waiting, connection.hostname()])
    const codes = outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason.code : outcome.status))
    t.same(codes, Array(7).fill('libvirt-unreachable'), fault)
    await t.rejects(connection.hostname(), { code: 'libvirt-unreachable' }, `${fault}: and later calls too`)
    await until('the fake sees it', () => fake.openConnections === 0)
    const late = await new Promise((resolve) => connection.onClose(resolve))
    t.same(reasons.length, 1, `${fault}: told once`)
    t.equal(late, reasons[0], `${fault}: who asks later is told the same`)
  }
})

t.test('a reply that cannot be read fails its own call only', async (t) => {
  const { fake, connection } = await start(t)
  for (const fault of ['long-payload', 'short-payload'] as const) {
    fake.client.wire.nextFault = fault
    await t.rejects(connection.hostname(), { code: 'message-invalid' }, fault)
    t.equal(await connection.hostname(), 'fake')
  }
})

t.test('arguments that cannot be sent are refused, and nothing is sent', async (t) => {
  const { fake, connection } = await start(t)
  await t.rejects(connection.lookupByName('a\0b'), { code: 'message-invalid' })
  await t.rejects(connection.createXml('x'.repeat(4_194_305), []), { code: 'message-invalid' })
  t.same(fake.received.slice(-1), ['registerEvent'])
  t.equal(await connection.lookupByName("$(reboot); '\n"), undefined, 'odd names are data')
})

t.test('a listener that throws or leaves does not disturb the others', async (t) => {
  const { connection } = await start(t)
  const seen: string[] = []
  connection.onLifecycle(() => {
    throw new Error('a listener of ours is broken')
  })
  const remove = connection.onLifecycle(({ event }) => seen.push(`first ${event}`))
  connection.onLifecycle(({ event }) => seen.push(`second ${event}`))
  const domain = await connection.createXml(domainXml('a'), [])
  remove()
  await connection.destroy(domain)
  t.same(seen, ['first started', 'second started', 'second stopped'])
})

t.test('a domain made to go with its connection goes with it', async (t) => {
  const { fake, connection } = await start(t)
  await connection.createXml(domainXml('goes'), ['autodestroy'])
  await connection.createXml(domainXml('stays'), [])
  await connection.close()
  await connection.close()
  await until('the connection is gone', () => fake.openConnections === 0)
  t.same(
    fake.domains.list().map((ref) => ref.name),
    ['stays'],
  )
})

// Connecting to, staying in touch with and parting from a fake libvirtd.
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { connectLibvirt } from '../../lib/libvirt/index.ts'
import { silentLog } from '../../lib/log.ts'
import { FakeLibvirtd } from '../fakes/libvirtd/fake-libvirtd.ts'
import { until } from '../support/until.ts'

const base = { uri: 'qemu:///system', log: silentLog }

t.test('where nobody listens the error says where', async (t) => {
  const socketPath = '/nonexistent/libvirt-sock'
  await t.rejects(connectLibvirt({ ...base, socketPath }), { code: 'libvirt-unreachable', message: /\/nonexistent\// })
})

t.test('a libvirtd that accepts and says nothing is given up in time, or at once by the signal', async (t) => {
  const folder = mkdtempSync('/tmp/vmrm-silent-')
  const socketPath = join(folder, 'socket')
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    socket.resume()
  })
  await new Promise<void>((resolve) => server.listen(socketPath, resolve))
  t.teardown(async () => {
    await new Promise((resolve) => server.close(resolve))
    rmSync(folder, { recursive: true })
  })
  await t.rejects(connectLibvirt({ ...base, socketPath, callTimeoutMs: 50 }), { code: 'libvirt-timeout' })
  await until('no socket is left', () => sockets.size === 0)
  const controller = new AbortController()
  const reason = new Error('no longer wanted')
  const connecting = connectLibvirt({ ...base, socketPath, signal: controller.signal })
  await until('the second connection', () => sockets.size > 0)
  controller.abort(reason)
  t.equal(await connecting.catch((error: unknown) => error), reason)
  await until('no socket is left', () => sockets.size === 0)
})

t.test('an abort before the socket is connected leaves no socket behind', async (t) => {
  const fake = await FakeLibvirtd.start()
  t.teardown(() => fake.stop())
  const controller = new AbortController()
  const connecting = connectLibvirt({ ...base, socketPath: fake.socketPath, signal: controller.signal })
  const reason = new Error('no longer wanted')
  controller.abort(reason)
  t.equal(await connecting.catch((error: unknown) => error), reason)
  const another = await connectLibvirt({ ...base, socketPath: fake.socketPath })
  t.equal(fake.openConnections, 1, 'accepted in order, so the first is not there any more')
  await another.close()
})

t.test('a libvirtd that asks for authentication is refused with the way out', async (t) => {
  const fake = await FakeLibvirtd.start({ authTypes: [2] })
  t.teardown(() => fake.stop())
  const refused = connectLibvirt({ ...base, socketPath: fake.socketPath })
  await t.rejects(refused, { code: 'libvirt-unreachable', message: /authentication/, hint: /auth_unix_rw/ })
  await until('no connection is left', () => fake.openConnections === 0)
})

t.test('pings of libvirtd are answered', async (t) => {
  const fake = await FakeLibvirtd.start()
  t.teardown(() => fake.stop())
  const connection = await connectLibvirt({ ...base, socketPath: fake.socketPath })
  for (let count = 0; count < 3; count++) fake.ping()
  await until('three pongs', () => fake.counts.pongs === 3)
  await connection.close()
})

t.test('a silent libvirtd is pinged, and lives as long as it answers', async (t) => {
  const fake = await FakeLibvirtd.start()
  t.teardown(() => fake.stop())
  const options = { ...base, socketPath: fake.socketPath, keepAliveIntervalMs: 10, keepAliveMaxUnanswered: 2 }
  const connection = await connectLibvirt(options)
  await until('eight pings', () => fake.counts.pings >= 8)
  t.equal(await connection.hostname(), 'fake')
  await connection.close()
})

t.test('a libvirtd that answers no ping is lost within the bound, and its callers are told', async (t) => {
  const fake = await FakeLibvirtd.start()
  t.teardown(() => fake.stop())
  const options = { ...base, socketPath: fake.socketPath, keepAliveIntervalMs: 50, keepAliveMaxUnanswered: 3 }
  const connection = await connectLibvirt(options)
  fake.isAnsweringPings = false
  fake.holding.add('getHostname')
  const before = performance.now()
  await t.rejects(connection.hostname(), { code: 'libvirt-unreachable', message: /silent for more than 200 ms/ })
  const tookMs = performance.now() - before
  t.ok(tookMs > 190 && tookMs < 2_000, `after ${Math.round(tookMs)} ms, three pings and four to five intervals`)
  t.equal(fake.counts.pings, 3)
})

t.test('a libvirtd that does not know keep-alive is not pinged', async (t) => {
  const fake = await FakeLibvirtd.start({ isKeepAliveSupported: false })
  t.teardown(() => fake.stop())
  const warnings: string[] = []
  const log = { ...silentLog, warn: (event: string) => warnings.push(event) }
  const connection = await connectLibvirt({ ...base, socketPath: fake.socketPath, log, keepAliveIntervalMs: 1 })
  for (let count = 0; count < 20; count++) await connection.hostname()
  t.same(warnings, ['libvirt.no-keepalive'])
  t.equal(fake.counts.pings, 0)
  await connection.close()
})

t.test('our own close is no loss', async (t) => {
  const fake = await FakeLibvirtd.start()
  t.teardown(() => fake.stop())
  const connection = await connectLibvirt({ ...base, socketPath: fake.socketPath })
  let isTold = false
  connection.onClose(() => {
    isTold = true
  })
  fake.holding.add('createXml')
  const call = connection.createXml('<domain><name>a</name></domain>', [])
  const failed = t.rejects(call, { code: 'libvirt-unreachable', message: /vmrm closed its connection/ })
  await connection.close()
  await failed
  await until('the connection is gone', () => fake.openConnections === 0)
  t.equal(isTold, false)
})

// Against a libvirtd with its default limits: calls that hang in a hypervisor must not cost us the connection. Root only.
import t from 'tap'
import { connectLibvirt, type LibvirtConnection } from '../../lib/libvirt/index.ts'
import { silentLog } from '../../lib/log.ts'
import { type PrivateLibvirtd, startLibvirtd } from '../support/libvirtd.ts'
import { startPacketTap } from '../support/packet-tap.ts'
import { until } from '../support/until.ts'

const defaultLimits = { max_client_requests: 5, max_workers: 20 }
const xml = `<domain type='qemu'><name>hangs</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os></domain>`

async function hang(libvirtd: PrivateLibvirtd, connection: LibvirtConnection): Promise<Promise<unknown>[]> {
  const domain = await connection.createXml(xml, ['paused'])
  const [pid] = libvirtd.pidsOf('qemu-system-x86')
  if (pid === undefined) throw new Error('the domain has no QEMU')
  process.kill(pid, 'SIGSTOP')
  const command = '{"execute":"query-status"}'
  return Array.from({ length: 10 }, () => connection.qemuMonitorCommand(domain, command).catch((error) => error.code))
}

t.test('calls that hang in a hypervisor leave room for other calls and for pings', async (t) => {
  const libvirtd = await startLibvirtd({ libvirtd: defaultLimits })
  t.teardown(() => libvirtd.stop())
  const listenPath = `${libvirtd.folder}/tap`
  const tap = await startPacketTap(listenPath, libvirtd.socketPath)
  t.teardown(() => tap.stop())
  const options = { socketPath: listenPath, uri: 'qemu:///system', log: silentLog, keepAliveIntervalMs: 50 }
  const connection = await connectLibvirt({ ...options, keepAliveMaxUnanswered: 100 })
  const waiting = await hang(libvirtd, connection)
  t.equal(typeof (await connection.hostname({ timeoutMs: 5_000 })), 'string')
  const before = tap.counts.libvirtd.pongs
  await until('libvirtd answers pings', () => tap.counts.libvirtd.pongs >= before + 3)
  await connection.close()
  t.same(await Promise.all(waiting), Array(10).fill('libvirt-unreachable'))
})

t.test('one call more than the default limit, and libvirtd stops reading', async (t) => {
  const libvirtd = await startLibvirtd({ libvirtd: defaultLimits })
  t.teardown(() => libvirtd.stop())
  const options = { socketPath: libvirtd.socketPath, uri: 'qemu:///system', log: silentLog, keepAliveIntervalMs: 50 }
  const connection = await connectLibvirt({ ...options, keepAliveMaxUnanswered: 4, maxCallsInFlight: 6 })
  const waiting = await hang(libvirtd, connection)
  t.same(await Promise.all(waiting), Array(10).fill('libvirt-unreachable'), 'so that its silence looks like death')
})

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { createOverlay } from '../../lib/image/overlay.ts'
import { createLog } from '../../lib/log.ts'
import { capConsole, consoleTail } from '../../lib/vm/console.ts'
import { domainUuid } from '../../lib/vm/domain-uuid.ts'
import type { DomainSpec } from '../../lib/vm/domain-xml.ts'
import type { Reachability, StoppedVm } from '../../lib/vm/hypervisor.ts'
import { createLibvirtHypervisor } from '../../lib/vm/libvirt-hypervisor.ts'
import { startLibvirtd } from '../support/libvirtd.ts'
import { until } from '../support/until.ts'

const libvirtd = await startLibvirtd()
const folder = mkdtempSync('/tmp/vmrm-hypervisor-')
chmodSync(folder, 0o755)
const lines: string[] = []
const log = createLog({ level: 'debug', write: (line) => lines.push(line) })
const cluster = 'test'
const options = {
  socketPath: libvirtd.socketPath,
  uri: 'qemu:///system',
  pidFolder: join(libvirtd.folder, 'run/qemu'),
  cluster,
  log,
  longestPauseMs: 200,
  graceMs: 2_000,
}
const hypervisor = createLibvirtHypervisor(options)
const stopped: StoppedVm[] = []
const reachability: Reachability[] = []
hypervisor.onStopped((vm) => stopped.push(vm))
hypervisor.onReachability((state) => reachability.push(state))
t.teardown(async () => {
  await hypervisor.close()
  await libvirtd.stop()
  rmSync(folder, { recursive: true })
})
const inside = (...argv: string[]) => {
  const [file = '', ...args] = libvirtd.enter(argv)
  return execFileSync(file, args, { encoding: 'utf8', timeout: 10_000, stdio: 'pipe' })
}
const owner = { uid: 61_111, gid: 61_111 }
const halt = [0xf4, 0xeb, 0xfd] // hlt; jmp back
/** Boot sectors: what a guest does as soon as its BIOS lets it. */
const sectors = {
  /** Writes without end to the serial port. */
  chatters: [0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xeb, 0xfd],
  /** Switches off through ACPI. */
  shutsDown: [0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, ...halt],
  /** Tells the panic device. */
  panics: [0xba, 0x05, 0x05, 0xb0, 0x01, 0xee, ...halt],
  resets: [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, ...halt],
  waits: halt,
}

let tapCount = 0

async function makeSpec(name: string, code: readonly number[]): Promise<DomainSpec> {
  const home = join(folder, name)
  mkdirSync(home)
  chmodSync(home, 0o755)
  const master = join(folder, `${name}.raw`)
  const sector = Buffer.alloc(1 << 20)
  Buffer.from(code).copy(sector)
  sector.writeUInt16LE(0xaa55, 510)
  writeFileSync(master, sector, { mode: 0o644 })
  const overlay = join(home, 'overlay.qcow2')
  await createOverlay({ path: overlay, backingPath: master, backingFormat: 'raw', virtualSizeBytes: 1 << 20, owner })
  const index = tapCount++
  const tap = `vt000001-${index}`
  inside('/usr/sbin/ip', 'tuntap', 'add', 'dev', tap, 'mode', 'tap', 'user', String(owner.uid))
  inside('/usr/sbin/ip', 'link', 'set', tap, 'mtu', '1450', 'up')
  return {
    name,
    uuid: domainUuid({ cluster, vm: name }),
    title: `"<${name}>`,
    metadata: { run: 'j1r0', user: 'a "b" <c>', image: 'tiny@1', index, cluster },
    accelerator: 'qemu',
    vcpus: 1,
    memoryMib: 32,
    cpus: [0],
    boot: { kind: 'firmware', firmware: 'bios' },
    overlay: { path: overlay, backingPath: master, backingFormat: 'raw' },
    nic: { mac: `52:54:76:00:00:${10 + index}`, tap, mtu: 1450 },
    consolePath: join(home, 'console.log'),
    consoleSocketPath: join(home, 'console.sock'),
    agentSocketPath: join(home, 'agent.sock'),
    owner,
    tcgCacheMib: 16,
  }
}
const stopOf = (name: string) => until(`${name} has stopped`, () => stopped.find((vm) => vm.name === name), 20_000)

t.test(
  'A VM is made paused, runs as its own uid within its CPUs, and is listed with what we wrote about it',
  async (t) => {
    const spec = await makeSpec('j1r0v0', sectors.waits)
    t.equal(await hypervisor.pidOf('j1r0v0'), undefined)
    await hypervisor.startPaused(spec)
    t.same(await hypervisor.list(), [{ name: 'j1r0v0', state: 'paused', metadata: spec.metadata }])
    await hypervisor.resume('j1r0v0')
    await hypervisor.resume('j1r0v0')
    t.match(await hypervisor.list(), [{ state: 'running' }])
    const status = inside('/usr/bin/cat', `/proc/${await hypervisor.pidOf('j1r0v0')}/status`)
    t.match(status, new RegExp(`^Uid:\t${owner.uid}\t${owner.uid}`, 'm'))
    t.match(status, new RegExp(`^Gid:\t${owner.gid}\t${owner.gid}`, 'm'))
    t.match(status, /^Cpus_allowed_list:\t0$/m)
    t.match(status, /^CapEff:\t0+$/m)
    await new Promise<void>((resolve, reject) => {
      const socket = connect(spec.agentSocketPath, () => resolve(void socket.destroy()))
      socket.on('error', reject)
    })
    await t.rejects(hypervisor.startPaused(spec), { code: 'vm-start-failed', message: /j1r0v0/ })
    t.equal(await hypervisor.destroy('j1r0v0'), 'destroyed')
    t.equal((await stopOf('j1r0v0')).reason, 'destroyed')
    t.equal(await hypervisor.destroy('j1r0v0'), 'not-running')
    t.same(await hypervisor.list(), [])
    await t.rejects(hypervisor.resume('j1r0v0'), { code: 'vm-lost' })
  },
)

for (const [index, [what, code, reason]] of (
  [
    ['switches off', sectors.shutsDown, 'shutdown'],
    ['panics', sectors.panics, 'panicked'],
    ['resets', sectors.resets, 'shutdown'],
  ] as const
).entries()) {
  t.test(`A guest that ${what} is gone, and the reason is ${reason}`, async (t) => {
    const name = `j2r0v${index + 1}`
    await hypervisor.startPaused(await makeSpec(name, code))
    await hypervisor.resume(name)
    t.equal((await stopOf(name)).reason, reason)
    t.same(await hypervisor.list(), [])
  })
}

t.test('A QEMU that is killed is a crash', async (t) => {
  await hypervisor.startPaused(await makeSpec('j3r0v5', sectors.waits))
  inside('/usr/bin/kill', '-9', String(await hypervisor.pidOf('j3r0v5')))
  t.equal((await stopOf('j3r0v5')).reason, 'crashed')
})

t.test('A console can be cut while QEMU writes to it', async (t) => {
  const spec = await makeSpec('j4r0v6', sectors.chatters)
  await hypervisor.startPaused(spec)
  await hypervisor.resume(spec.name)
  const grows = (bytes: number) => until('console grows', () => statSync(spec.consolePath).size > bytes, 20_000)
  await grows(8_000)
  t.ok((await capConsole(spec.consolePath, 4_000)) > 0)
  await grows(1_000)
  const bytes = readFileSync(spec.consolePath)
  t.notOk(bytes.includes(0), 'QEMU goes on at the end of the file, without a hole')
  t.match(await consoleTail(spec.consolePath), /A+$/)
  await hypervisor.destroy(spec.name)
  const overlay = await makeSpec('j4r0v7', sectors.waits)
  await t.rejects(hypervisor.startPaused({ ...overlay, overlay: { ...overlay.overlay, path: '/nonexistent' } }), {
    code: 'vm-start-failed',
    message: /nonexistent/,
  })
})

t.test('A domain of others is not seen and not touched, whatever its name', async (t) => {
  const spec = await makeSpec('j5r0v8', sectors.waits)
  const other = { ...spec, uuid: domainUuid({ cluster: 'other', vm: spec.name }) }
  await hypervisor.startPaused(other)
  t.same(await hypervisor.list(), [])
  t.equal(await hypervisor.destroy(spec.name), 'not-running')
  t.match(inside('/usr/bin/virsh', 'list', '--name'), /j5r0v8/)
  inside('/usr/bin/virsh', 'destroy', 'j5r0v8')
})

t.test('When libvirtd goes and comes back, VMs live on and what ended meanwhile is told', async (t) => {
  const [stays, goes] = [await makeSpec('j6r0v3', sectors.waits), await makeSpec('j6r0v9', sectors.waits)]
  await hypervisor.startPaused(stays)
  await hypervisor.startPaused(goes)
  const pid = await hypervisor.pidOf('j6r0v9')
  reachability.length = 0
  await libvirtd.killDaemon()
  await until('the loss is told', () => reachability.includes('unreachable'))
  t.equal(hypervisor.reachability, 'unreachable')
  await t.rejects(hypervisor.list(), { code: 'libvirt-unreachable', family: 'node' })
  await t.rejects(hypervisor.list({ signal: AbortSignal.abort(new Error('enough')) }), /enough/)
  // As a daemon that was started while libvirtd was away, and has found both by their agents.
  const late = createLibvirtHypervisor(options)
  const lateStopped: StoppedVm[] = []
  late.onStopped((vm) => lateStopped.push(vm))
  for (const { name } of [stays, goes]) late.expect(name)
  inside('/usr/bin/kill', '-9', String(pid))
  const listing = libvirtd.startDaemon().then(() => hypervisor.list())
  t.same(
    (await listing).map((vm) => vm.name),
    ['j6r0v3'],
  )
  t.ok(['vanished', 'crashed'].includes((await stopOf('j6r0v9')).reason))
  t.same(reachability, ['unreachable', 'reachable'])
  await until('the late one is there', () => late.reachability === 'reachable', 20_000)
  t.same(lateStopped, [{ name: 'j6r0v9', reason: 'vanished' }])
  for (const { name } of [stays, goes]) late.expect(name)
  t.same(
    lateStopped.map(({ name }) => name),
    ['j6r0v9', 'j6r0v9'],
    'who is not there is told of at once',
  )
  await late.close()
  await hypervisor.destroy('j6r0v3')
  t.same(await hypervisor.list(), [])
})

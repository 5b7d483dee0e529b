// Two clones of one running guest, gone on at the same instant: each becomes a machine of its own. QEMU alone and the real agent.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'
import t from 'tap'
import { loadImage } from '../../../lib/config/load.ts'
import { GuestChannel } from '../../../lib/guest/channel/channel.ts'
import { identityTag as tag } from '../../../lib/guest/channel/identity.ts'
import { joinTexts, u64Field } from '../../../lib/guest/frame/fields.ts'
import { silentLog } from '../../../lib/log.ts'
import { vmSshKeys } from '../../../lib/ssh/run-keys.ts'
import { buildStatic, changeDisk, copyDisk, putFile, readFromDisk } from '../../support/changed-disk.ts'
import { type PausedClone, templateByHand } from '../../support/clone-by-hand.ts'
import { until } from '../../support/until.ts'
import { Host } from './host.ts'
import { Task } from './task.ts'

const project = join(import.meta.dirname, '../../..')
const templateUuid = '11111111-2222-4333-8444-000000000000'
const bootMs = 120_000
/** A template runs on so long before it is saved, and a clone before it has its identity: time for many draws. */
const idleMs = 1500

t.setTimeout(600_000)

/** Facts of a guest, a line each; its own random bytes twice: from the device and from the system call (bash's own seed). */
const facts = `
echo hostname $(hostname) $(cat /etc/hostname)
echo mac $(cat /sys/class/net/e*/address)
echo address $(hostname -I 2>/dev/null || ip addr show | sed -n 's/ *inet \\(10[0-9.]*\\).*/\\1/p')
echo machine-id $(cat /etc/machine-id)
echo uuid $(cat /sys/class/dmi/id/product_uuid)
echo tables $(md5sum </sys/firmware/dmi/tables/DMI)
echo boot $(cat /proc/sys/kernel/random/boot_id)
echo host-key $(md5sum </run/vmrm/ssh/host_ed25519_key)
echo urandom $(od -An -v -tx1 -N64 /dev/urandom | tr -d ' \\n')
echo random $(od -An -v -tx1 -N64 /dev/random | tr -d ' \\n')
echo uuids $(cat /proc/sys/kernel/random/uuid)
echo clock $(date +%s)
echo nice $(nice)
echo peers $(sed -n '/^# vmrm: begin/,/^# vmrm: end/p' /etc/hosts | grep -c twin)
`

const names = ['twin0', 'twin1']
const addresses = ['10.0.2.20', '10.0.2.21']
const macs = ['52:54:00:00:aa:00', '52:54:00:00:aa:01']
const uuids = ['11111111-2222-4333-8444-00000000000a', '11111111-2222-4333-8444-00000000000b']
const secret = randomBytes(32)

function identityOf(index: number) {
  const at = <T>(values: readonly T[]) => values[index] as T
  const keys = vmSshKeys({ secret, run: 'j1r0', index, names: [at(names), at(addresses)] })
  return [
    [tag.run, 'j1r0'],
    [tag.user, joinTexts(['root', '0', '0', '/root', '/bin/sh', ''])],
    [tag.uuid, at(uuids)],
    [tag.hostname, at(names)],
    [tag.nic, joinTexts([at(macs), `${at(addresses)}/24`, '1400'])],
    [tag.hosts, joinTexts([addresses.join(','), names.join(','), 'n1', String(names.length)])],
    [tag.sshHostKey, keys.hostKey],
    [tag.sshHostCertificate, keys.hostCertificate],
    [tag.sshKnown, keys.known],
    [tag.time, u64Field(BigInt(Date.now()) * 1_000_000n)],
    [tag.entropy, randomBytes(64)],
  ] as const
}

async function factsOf(host: Host): Promise<ReadonlyMap<string, string>> {
  const task = new Task(host, { argv: ['sh', '-c', facts] })
  const end = await until('the facts', () => task.result, bootMs)
  if (end.kind !== 'exited') throw new Error(task.errText)
  const lines = task.outText.trim().split('\n')
  return new Map(lines.map((line) => [line.split(' ', 1)[0] ?? '', line.slice(line.indexOf(' ') + 1)]))
}

/** The tiny master with a program that draws random numbers from the boot on. */
async function drawingDisk(tiny: string, folder: string): Promise<string> {
  const [program, inittab, raw] = ['draw', 'inittab', 'raw'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  await buildStatic(join(import.meta.dirname, 'draw.c'), program)
  await copyDisk(tiny, raw)
  await writeFile(inittab, `${await readFromDisk(raw, '/etc/inittab')}\n::once:/usr/bin/draw\n`)
  const commands = [...putFile(program, '/usr/bin/draw', '0100755'), ...putFile(inittab, '/etc/inittab', '0100644')]
  await changeDisk(raw, commands)
  return raw
}

/** What was drawn before the guest stood still for the last time, and after. */
async function drawsOf(host: Host): Promise<{ before: readonly string[]; after: readonly string[] }> {
  const task = new Task(host, {
    argv: ['sh', '-c', 'until tail -n 1 /run/drawn | grep -q end; do sleep 0.2; done; cat /run/drawn'],
  })
  await until('the draws', () => task.result, bootMs)
  const draws = task.outText.split('\n').flatMap((line) => {
    const [time, number] = line.split(' ')
    return time === undefined || number === undefined ? [] : [{ ms: Number(time), number }]
  })
  const last = draws.findLastIndex(({ ms }, at) => ms - (draws[at - 1]?.ms ?? ms) >= idleMs)
  if (last < 0) throw new Error('it never stood still')
  const numbers = draws.map(({ number }) => number)
  return { before: numbers.slice(0, last), after: numbers.slice(last) }
}

async function becomeTwin(clone: PausedClone, index: number): Promise<{ seen: string; complaint: string; host: Host }> {
  const host = Host.connect(clone.vm.portPath)
  const seen = await until('the greeting', () => host.hello, bootMs)
  await delay(idleMs)
  return { seen: seen.state, complaint: await host.identify(identityOf(index)), host }
}

t.test('two clones of one template share nothing that tells machines apart', async (t) => {
  await execa('/usr/bin/make', ['-s', '-C', join(project, 'lib/guest')], { timeout: 120_000 })
  await execa(join(project, 'test/images/build'), ['tiny'], { timeout: 240_000 })
  const folder = process.env.VMRM_IMAGES ?? '/var/tmp/vmrm-images'
  const image = loadImage(join(folder, 'tiny.xml'))
  const scratch = await mkdtemp(join(tmpdir(), 'vmrm-test-clones-'))
  t.teardown(() => rm(scratch, { recursive: true, force: true }))
  const backing = { path: await drawingDisk(join(folder, 'tiny.qcow2'), scratch), format: 'raw' } as const
  const template = await templateByHand({ image, backing, qemuArguments: ['-uuid', templateUuid] }, async (vm) => {
    const channel = new GuestChannel({ path: vm.portPath, vm: 'template', log: silentLog })
    await channel.open(AbortSignal.timeout(bootMs))
    await channel.prepareTemplate(AbortSignal.timeout(bootMs))
    channel.close()
    await delay(idleMs)
  })
  t.teardown(() => template.remove())
  const clones = await Promise.all(macs.map((mac) => template.clone({ mac })))
  t.teardown(() => Promise.all(clones.map((clone) => clone.vm.stop())))
  await Promise.all(clones.map((clone) => clone.resume()))
  const twins = await Promise.all(clones.map(becomeTwin))
  t.teardown(() => Promise.all(twins.map((twin) => twin.host.close())))
  for (const twin of twins) t.match(twin, { seen: 'template', complaint: '' })

  const found = await Promise.all(twins.map((twin) => factsOf(twin.host)))
  const each = (name: string) => found.map((one) => one.get(name) ?? '')
  t.strictSame(
    each('hostname'),
    names.map((name) => `${name} ${name}`),
  )
  t.strictSame(each('mac'), macs)
  t.strictSame(
    each('machine-id'),
    uuids.map((uuid) => uuid.replaceAll('-', '')),
  )
  t.strictSame(each('uuid'), uuids)
  for (const [at, address] of addresses.entries()) t.match(each('address')[at], address)
  for (const name of ['tables', 'boot', 'host-key', 'urandom', 'random', 'uuids']) {
    t.equal(new Set(each(name)).size, 2, `${name}: ${each(name).join(' and ')}`)
  }
  for (const bytes of [...each('urandom'), ...each('random')]) t.match(bytes, /^[0-9a-f]{128}$/)
  t.strictSame(each('nice'), ['0', '0'], "a task has not the agent's priority")
  t.strictSame(each('peers'), ['2', '2'], 'each knows both by name')
  const [one, other] = await Promise.all(twins.map((twin) => drawsOf(twin.host)))
  t.ok((one?.before.length ?? 0) > 100, 'the template has drawn random numbers')
  t.strictSame(one?.before, other?.before)
  t.ok((one?.after.length ?? 0) > 0, 'clones have drawn random numbers')
  t.strictSame(
    one?.after.filter((number) => other?.after.includes(number)),
    [],
    'no process has drawn a number that another clone has too',
  )

  for (const [at, twin] of twins.entries()) {
    // Between the two readings of the host's clock lies the guest's, however slow the machine is.
    const before = Math.floor(Date.now() / 1000)
    const clock = Number((await factsOf(twin.host)).get('clock'))
    t.ok(clock >= before - 1 && clock <= Date.now() / 1000 + 1, `the clock of ${names[at]} is right: ${clock}`)
  }

  // The same once more changes nothing, not even the boot id, which is new only for a clone.
  const [first] = twins
  if (first === undefined) throw new Error('no clone')
  t.equal(await first.host.identify(identityOf(0)), '')
  const again = await factsOf(first.host)
  for (const name of ['hostname', 'mac', 'machine-id', 'uuid', 'tables', 'boot', 'host-key']) {
    t.equal(again.get(name), found[0]?.get(name), name)
  }
  for (const { host } of twins) t.strictSame(host.faults, [])
})

// Templates and clones through the real libvirt and QEMU, with the tiny image: what a clone shares, what it has for itself,
// and that it can go where any VM can.
import { createHash } from 'node:crypto'
import { chownSync, copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import type { DomainSpec } from '../../lib/vm/domain-xml.ts'
import { movedDomainXml } from '../../lib/vm/moved-domain.ts'
import { Host } from '../guest/agent/host.ts'
import { Task } from '../guest/agent/task.ts'
import { userFields } from '../guest/agent/with-agent.ts'
import { until } from '../support/until.ts'
import { CloneNode, makeMemoryFile, makeSharedFolder, owner, removeSharedFolder } from './clone-node.ts'

const folder = makeSharedFolder()
const [node, other] = await Promise.all([CloneNode.start(folder), CloneNode.start(folder)])
t.teardown(async () => {
  await Promise.all([node.stop(), other.stop()])
  removeSharedFolder(folder)
})
t.setTimeout(400_000)
const answerMs = 60_000
const statePath = join(folder, 'template.state')
const ramOfTemplate = join(folder, 'template.ram')
const ramOfRun = join(folder, 'run.ram')
const hashOf = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

let template: DomainSpec

const makeClone = (name: string) => node.makeVm({ name, template, memory: { kind: 'clone', path: ramOfRun } })

/** A process in a clone, whose sum is in its memory and in a file of the guest's memory. */
interface Counting {
  readonly spec: DomainSpec
  readonly host: Host
  readonly task: Task
  /** Adds, and resolves when the process has answered with that sum. */
  add(number: number, sum: number): Promise<void>
}

async function startCounting(spec: DomainSpec): Promise<Counting> {
  const host = Host.connect(spec.agentSocketPath)
  t.teardown(() => host.close())
  await until('the port is connected', () => host.isConnected)
  await node.hypervisor.resume(spec.name)
  await until(`the agent of ${spec.name} answers`, () => host.hello, answerMs)
  const complaint = await host.identify(userFields)
  if (complaint !== '') throw new Error(complaint)
  const script = 'sum=0; while read -r x; do sum=$((sum + x)); echo $sum >/tmp/sum; echo "sum $(cat /tmp/sum)."; done'
  const task = new Task(host, { argv: ['sh', '-c', script], stdin: 'open' })
  return {
    ...{ spec, host, task },
    async add(number, sum) {
      task.writeStdin(`${number}\n`)
      await until(`${spec.name} says ${sum}`, () => task.outText.endsWith(`sum ${sum}.\n`), answerMs)
    },
  }
}

t.test('A VM becomes a template: its memory in a file, the rest of its state in another, and it is gone', async (t) => {
  template = await node.makeVm({
    name: 't0123456789ab',
    memory: { kind: 'template', path: makeMemoryFile(ramOfTemplate) },
  })
  await node.hypervisor.startPaused(template)
  await node.hypervisor.resume(template.name)
  const host = Host.connect(template.agentSocketPath)
  t.teardown(() => host.close())
  await until('the agent answers', () => host.hello, answerMs)
  await node.hypervisor.saveTemplate(template.name, statePath)
  t.same(await node.hypervisor.list(), [])
  t.ok(readFileSync(statePath).length < 4 << 20, 'memory is not in the state')
  t.notOk(existsSync(join(dirname(template.agentSocketPath), 'state.sock')))
  copyFileSync(ramOfTemplate, ramOfRun)
  chownSync(ramOfRun, owner.uid, owner.gid)
  await t.rejects(node.hypervisor.saveTemplate(template.name, join(folder, 'again')), { code: 'template-failed' })
})

t.test('A clone whose state is broken is reported with what QEMU says, and can be destroyed', async (t) => {
  const broken = join(folder, 'broken.state')
  const state = readFileSync(statePath)
  for (const [name, bytes, words] of [
    ['j9r0v0', state.subarray(0, state.length / 2), /qemu-system/],
    ['j9r0v1', Buffer.from('no state'), /Not a migration stream/],
  ] as const) {
    writeFileSync(broken, bytes)
    const spec = await makeClone(name)
    await node.hypervisor.startPaused(spec)
    const error = await node.hypervisor.load(name, broken).catch((thrown) => thrown)
    t.match(error, {
      code: 'vm-start-failed',
      message: new RegExp(`VM ${name} could not be started as a clone`),
      quoted: words,
    })
    await node.hypervisor.destroy(name)
  }
  const aborted = await makeClone('j9r0v2')
  await node.hypervisor.startPaused(aborted)
  const loading = node.hypervisor.load(aborted.name, statePath, { signal: AbortSignal.timeout(1) })
  await t.rejects(loading, { name: 'TimeoutError' })
  // QEMU may have ended by itself already, for want of the rest.
  t.match(await node.hypervisor.destroy(aborted.name), /^(destroyed|not-running)$/)
  const missing = await makeClone('j9r0v3')
  await node.hypervisor.startPaused(missing)
  await t.rejects(node.hypervisor.load(missing.name, join(folder, 'nowhere')), {
    code: 'vm-start-failed',
    message: /nowhere/,
  })
  t.equal(await node.hypervisor.destroy(missing.name), 'destroyed')
  t.same(await node.hypervisor.list(), [])
})

t.test('Clones of one copy of the memory answer, keep what they write apart, and go on elsewhere', async (t) => {
  const before = hashOf(ramOfRun)
  const specs = await Promise.all(['j1r0v0', 'j1r0v1'].map(makeClone))
  await Promise.all(specs.map((spec) => node.hypervisor.startPaused(spec)))
  await Promise.all(specs.map((spec) => node.hypervisor.load(spec.name, statePath)))
  t.match(await node.hypervisor.list(), [{ state: 'paused' }, { state: 'paused' }])
  const [saved, migrated] = (await Promise.all(specs.map(startCounting))) as [Counting, Counting]
  await Promise.all([saved.add(5, 5), migrated.add(70, 70)])
  await Promise.all([saved.add(1, 6), migrated.add(1, 71)])
  t.equal(hashOf(ramOfRun), before, 'the memory they share is as it was')
  const mapsOf = async (at: CloneNode, { name }: DomainSpec) =>
    at.run('/usr/bin/cat', `/proc/${await at.hypervisor.pidOf(name)}/maps`)
  for (const spec of specs) t.match(await mapsOf(node, spec), ramOfRun)
  // The folder is there for both nodes, so whoever wanted one of these would find it.
  for (const path of [ramOfRun, ramOfTemplate, statePath]) rmSync(path)

  await t.test('saved here and restored on another node', async (t) => {
    const [here, there] = await Promise.all([node.connect(), other.connect()])
    t.teardown(() => Promise.all([here.close(), there.close()]))
    const domain = await here.lookupByName(saved.spec.name)
    if (domain === undefined) throw new Error(`${saved.spec.name} is not there`)
    const moved = new Map([[saved.spec.nic.tap, other.makeTap('up')]])
    const xml = movedDomainXml(await here.xml(domain, ['migratable', 'secure']), moved)
    const checkpoint = join(folder, 'checkpoint')
    await here.save(domain, checkpoint)
    await there.restore(checkpoint, { xml, flags: ['running'] })
    saved.host.cut()
    await until('the agent answers again', () => saved.host.hello, answerMs)
    await saved.add(1, 7)
    t.notMatch(await mapsOf(other, saved.spec), ramOfRun)
    t.equal(await other.hypervisor.destroy(saved.spec.name), 'destroyed')
  })

  await t.test('live-migrated to another node', async (t) => {
    const { name, overlay, agentSocketPath } = migrated.spec
    const home = join(folder, 'moved')
    mkdirSync(home)
    chownSync(home, owner.uid, owner.gid)
    const files = ['agent.sock', 'console.sock', 'console.log'].map(
      (file) => [join(dirname(overlay.path), file), join(home, file)] as const,
    )
    writeFileSync(join(home, 'console.log'), '')
    chownSync(join(home, 'console.log'), owner.uid, owner.gid)
    const moved = new Map([...files, [migrated.spec.nic.tap, other.makeTap('up')]])
    const xml = movedDomainXml(node.run('/usr/bin/virsh', 'dumpxml', '--migratable', '--security-info', name), moved)
    writeFileSync(join(home, 'domain.xml'), xml)
    const target = `qemu+unix:///system?socket=${other.libvirtd.socketPath}`
    const how = ['--live', '--p2p', '--unsafe', '--xml', join(home, 'domain.xml')]
    node.run('/usr/bin/virsh', 'migrate', ...how, name, target, `unix://${join(home, 'stream.sock')}`)
    t.same(await node.hypervisor.list(), [])
    t.match(await other.hypervisor.list(), [{ name, state: 'running' }])
    migrated.host.moveTo(moved.get(agentSocketPath) ?? '')
    await until('the agent answers again', () => migrated.host.hello, answerMs)
    await migrated.add(1, 72)
    t.notMatch(await mapsOf(other, migrated.spec), ramOfRun)
    t.equal(await other.hypervisor.destroy(name), 'destroyed')
  })
})

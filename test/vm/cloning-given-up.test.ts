// What is left of a template and of clones whose making is aborted, or ends, at each of their steps, through the real libvirt and
// QEMU: all of it can be destroyed by name. No guest runs in here, so none has to boot.
import { chownSync, copyFileSync, existsSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { until } from '../support/until.ts'
import { CloneNode, makeMemoryFile, makeSharedFolder, owner, removeSharedFolder } from './clone-node.ts'

const folder = makeSharedFolder()
const node = await CloneNode.start(folder)
t.teardown(async () => {
  await node.stop()
  removeSharedFolder(folder)
})
t.setTimeout(400_000)
const boundMs = 60_000
const qemuName = 'qemu-system-x86'
const reason = new Error('not wanted any more')
const ramOfRun = join(folder, 'run.ram')

/** A template's VM that has not run, and where its state is to go. */
async function startTemplate(name: string) {
  const [memory, state] = [makeMemoryFile(join(folder, `${name}.ram`)), join(folder, `${name}.state`)]
  const spec = await node.makeVm({ name, memory: { kind: 'template', path: memory } })
  await node.hypervisor.startPaused(spec)
  return { spec, memory, state }
}

/** What it fails with, or undefined. */
const outcomeOf = (work: Promise<void>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  )

/** As soon as `isThere`, and not a turn of the event loop later. */
async function atOnceWhen(isThere: () => boolean | Promise<boolean>, act: () => void): Promise<void> {
  const deadline = performance.now() + boundMs
  while (!(await isThere())) {
    if (performance.now() > deadline) throw new Error('it never began')
    await nextTurn()
  }
  act()
}

t.test('What an abort leaves of a clone that starts or resumes can be destroyed by name', async (t) => {
  const { spec: template, memory, state } = await startTemplate('t0123456789ab')
  await node.hypervisor.saveTemplate(template.name, state)
  copyFileSync(memory, ramOfRun)
  chownSync(ramOfRun, owner.uid, owner.gid)
  const makeClone = (name: string) => node.makeVm({ name, template, memory: { kind: 'clone', path: ramOfRun } })
  const early = await makeClone('j8r0v0')
  await t.rejects(node.hypervisor.startPaused(early, { signal: AbortSignal.abort(reason) }), reason)
  t.equal(await node.hypervisor.destroy(early.name), 'not-running')
  const stop = new AbortController()
  const starting = outcomeOf(node.hypervisor.startPaused(early, { signal: stop.signal }))
  const isListed = async () => (await node.hypervisor.list()).length > 0
  await atOnceWhen(isListed, () => stop.abort(reason))
  // A machine may be so busy that the start is over before its domain is seen.
  t.ok([reason, undefined].includes((await starting) as Error))
  // A domain that is ended in the middle of its start is not running any more when libvirt has come to it.
  t.match(await node.hypervisor.destroy(early.name), /^(destroyed|not-running)$/)
  t.same(await node.hypervisor.list(), [])
  await until('its QEMU is gone', () => node.libvirtd.pidsOf(qemuName).length === 0, boundMs)
  for (const [name, turns] of [
    ['j8r0v1', 0],
    ['j8r0v2', 1],
    ['j8r0v3', 3],
  ] as const) {
    const spec = await makeClone(name)
    await node.hypervisor.startPaused(spec)
    await node.hypervisor.load(name, state)
    const stop = new AbortController()
    const resuming = outcomeOf(node.hypervisor.resume(name, { signal: stop.signal }))
    for (let turn = 0; turn < turns; turn++) await nextTurn()
    stop.abort(reason)
    // Its two calls need more than one turn of the event loop.
    t.ok((turns > 1 ? [reason, undefined] : [reason]).includes((await resuming) as Error), `after ${turns} turns`)
    t.equal(await node.hypervisor.destroy(name), 'destroyed')
  }
  t.same(await node.hypervisor.list(), [])
})

t.test('A template whose save fails or is aborted in the middle leaves nothing that cannot be destroyed', async (t) => {
  for (const [name, how] of [
    ['t1111111111aa', 'killed'],
    ['t1111111111bb', 'aborted'],
  ] as const) {
    const { spec, memory, state } = await startTemplate(name)
    const onlyPid = () => (node.libvirtd.pidsOf(qemuName).length === 1 ? node.libvirtd.pidsOf(qemuName)[0] : undefined)
    const pid = await until('its QEMU is the only one', onlyPid, boundMs)
    const stop = new AbortController()
    const saving = node.hypervisor.saveTemplate(name, state, { signal: stop.signal })
    const expected =
      how === 'killed'
        ? { code: 'template-failed', message: new RegExp(`No template could be made of VM ${name}: .`) }
        : reason
    const strike = () => (how === 'killed' ? void process.kill(pid, 'SIGKILL') : stop.abort(reason))
    // The file is made before QEMU hears that it is to send anything.
    await Promise.all([atOnceWhen(() => existsSync(state), strike), t.rejects(saving, expected)])
    t.notOk(existsSync(join(dirname(spec.agentSocketPath), 'state.sock')), `${how}: the socket is gone`)
    t.match(await node.hypervisor.destroy(name), how === 'killed' ? /^(destroyed|not-running)$/ : 'destroyed')
    for (const path of [state, memory]) rmSync(path)
  }
  t.same(await node.hypervisor.list(), [])
})

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import t from 'tap'
import type { Journal } from '../../../lib/daemon/node/runs/journal.ts'
import { LiveRun } from '../../../lib/daemon/node/runs/live-run.ts'
import { createVmMaker, type VmMakerOptions } from '../../../lib/daemon/node/vms/vm-maker.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { runId } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import { shareFor } from '../../fakes/controller-link.ts'
import { FakeHypervisor } from '../../fakes/hypervisor.ts'

const run = { job: 7, restart: 0 }
const owner = { uid: 2001, gid: 2001, user: 'alice', script: 'guest', qemuUid: 600_000 } as const
const entry = { version: 1, ...run, ...owner, state: 'removing', reason: '', beganMs: 0 } as const

const metadata = { run: 'j7r0', user: 'alice', image: 'tiny@1', index: 0, cluster: 'c' }

/** A node with things of runs 7 and 9 and of others; what is removed is counted. */
function setUp(cgroups: 'own' | 'libvirt' = 'own', onCgroupRemoved = () => {}) {
  const removed: string[] = []
  const confined: number[] = []
  const hypervisor = new FakeHypervisor()
  const remove = (what: string) => async (name: string | number) => {
    removed.push(`${what} ${name}`)
  }
  const options = {
    hypervisor,
    cgroups: {
      kind: cgroups,
      usage: async () => undefined,
      list: async () => ['j7r0', 'j9r0', 'user.slice'],
      add: async (_of: unknown, pid: number) => void confined.push(pid),
      remove: async (of: typeof run) => {
        onCgroupRemoved()
        await remove('cgroup')(runId(of))
      },
    },
    exports: { list: async () => ['j7r0', 'j9r0', 'site'], remove: remove('export') },
    networks: { list: async () => [1, 2], tearDown: remove('network') },
    starter: {
      removeFiles: (of: typeof run) => remove('files')(runId(of)),
      async reconnect(_entry: unknown, vm: { name: string }, signal: AbortSignal) {
        if (vm.name === 'j7r0v1') throw new VmrmError('vm-lost', 'its agent does not answer')
        if (vm.name !== 'j7r0v2') return { name: vm.name }
        await once(signal, 'abort')
        throw signal.reason
      },
    },
    log: silentLog,
  } as unknown as VmMakerOptions
  return { maker: createVmMaker(options), hypervisor, removed, confined }
}

t.test('strays are what has the name of a run that is not known; the rest is left alone', async (t) => {
  const { maker, removed } = setUp()
  await maker.removeStrays({ hasRun: (name) => name === 'j7r0', hasNetwork: (vni) => vni === 1 })
  t.same(removed.toSorted(), ['cgroup j9r0', 'export j9r0', 'network 2'])
})

t.test('a run ends without libvirtd where the end of its cgroup is the end of its QEMUs, and only there', async (t) => {
  const own = setUp('own')
  own.hypervisor.disconnect()
  await own.maker.remove(entry)
  t.same(own.removed.sort(), ['cgroup j7r0', 'export j7r0', 'files j7r0'])
  const other = setUp('libvirt')
  other.hypervisor.disconnect()
  await t.rejects(other.maker.remove(entry), { code: 'libvirt-unreachable' })
  t.same(other.removed, [])
})

t.test('a libvirtd that goes away during a removal does not make it fail', async (t) => {
  const { maker, hypervisor, removed } = setUp('own', () => hypervisor.disconnect())
  await maker.remove(entry)
  t.same(removed.sort(), ['cgroup j7r0', 'export j7r0', 'files j7r0'])
})

t.test("without libvirtd a QEMU that is not in the run's cgroup yet is moved there, and nobody else", async (t) => {
  const { maker, hypervisor, confined } = setUp()
  const named = (guest: string) =>
    spawn('/usr/bin/tail', ['-f', '/dev/null', `--pid=${process.pid}`, '--', `guest=${guest},x`])
  const [qemu, stranger] = [named('j7r0v0'), named('j7r0v10')]
  t.teardown(() => [qemu, stranger].map((each) => each.kill()))
  await Promise.all([once(qemu, 'spawn'), once(stranger, 'spawn')])
  const pids = new Map([
    ['j7r0v0', qemu.pid],
    // The file of a QEMU that has ended: its number is somebody else's now.
    ['j7r0v1', stranger.pid],
  ])
  hypervisor.pidOf = async (name) => pids.get(name)
  hypervisor.disconnect()
  const layout = { vms: '3', hostnames: 'tiny-[0001+3]', addresses: '10.77.0.2+3', macs: '52:54:76:00:00:01+3' }
  await maker.remove({ ...entry, share: shareFor(run, layout) })
  t.same(confined, [qemu.pid])
})

t.test('a restart looks once for all VMs of a run, and says of each whether it is there', async (t) => {
  const { maker, hypervisor } = setUp()
  let lists = 0
  hypervisor.list = async () => {
    lists += 1
    return ['j7r0v0', 'j7r0v1'].map((name) => ({ name, state: 'running', metadata }))
  }
  const layout = { vms: '4', hostnames: 'tiny-[0001+4]', addresses: '10.77.0.2+4', macs: '52:54:76:00:00:01+4' }
  const missing = [{ vm: 'j7r0v3', reason: 'it did not answer' }]
  const live = new LiveRun({ ...entry, state: 'committed', missing }, {} as Journal)
  const { there, gone } = await maker.adopt(live, shareFor(run, layout), AbortSignal.timeout(5000))
  t.equal(lists, 1)
  t.same([there.map(({ name }) => name), gone.map(({ vm }) => vm)], [['j7r0v0'], ['j7r0v1', 'j7r0v2']])
  t.match(
    gone.map(({ error }) => error.message),
    [/does not answer/, /ended while vmrmd was down/],
  )
})

t.test(
  'a restart needs no libvirtd for VMs that answer, and hears of one that ends before libvirtd is back',
  async (t) => {
    const { maker, hypervisor } = setUp()
    const stopped: string[] = []
    hypervisor.onStopped(({ name, reason }) => stopped.push(`${name} ${reason}`))
    hypervisor.disconnect()
    hypervisor.hold()
    const live = new LiveRun({ ...entry, state: 'committed' }, {} as Journal)
    const { there, gone } = await maker.adopt(live, shareFor(run), AbortSignal.timeout(60_000))
    t.same([there.map(({ name }) => name), gone], [['j7r0v0'], []])
    hypervisor.reconnect()
    t.same(stopped, ['j7r0v0 vanished'])
  },
)

t.test('a stray that cannot be removed keeps no other there', async (t) => {
  const { maker, removed, hypervisor } = setUp()
  const names = ['j9r0v0', 'j10r0v0']
  hypervisor.list = async () => names.map((name) => ({ name, state: 'running', metadata }))
  hypervisor.destroy = async (name) => {
    if (name === 'j9r0v0') throw new VmrmError('node-fault', 'QEMU does not end')
    removed.push(`vm ${name}`)
    return 'destroyed'
  }
  const known = { hasRun: () => false, hasNetwork: () => false }
  await t.rejects(maker.removeStrays(known), { message: 'QEMU does not end' })
  const others = ['export j7r0', 'export j9r0', 'network 1', 'network 2']
  t.same(removed.toSorted(), ['cgroup j7r0', 'cgroup j9r0', ...others, 'vm j10r0v0'])
})

t.test('without libvirtd strays go with their groups', async (t) => {
  const { maker, removed, hypervisor } = setUp()
  hypervisor.disconnect()
  await maker.removeStrays({ hasRun: (name) => name === 'j7r0', hasNetwork: () => true })
  t.same(removed.toSorted(), ['cgroup j9r0', 'export j9r0'])
})

import t from 'tap'
import { createVmMaker, type VmMakerOptions } from '../../../lib/daemon/node/vm-maker.ts'
import { runId } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import { FakeHypervisor } from '../../fakes/hypervisor.ts'

const run = { job: 7, restart: 0 }
const owner = { uid: 2001, gid: 2001, user: 'alice', script: 'guest', qemuUid: 600_000 } as const
const entry = { version: 1, ...run, ...owner, state: 'removing', reason: '', beganMs: 0 } as const

/** A node with things of runs 7 and 9 and of others; what is removed is counted. */
function setUp(cgroups: 'own' | 'libvirt' = 'own') {
  const removed: string[] = []
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
      remove: (of: typeof run) => remove('cgroup')(runId(of)),
    },
    exports: { list: async () => ['j7r0', 'j9r0', 'site'], remove: remove('export') },
    networks: { list: async () => [1, 2], tearDown: remove('network') },
    starter: { removeFiles: (of: typeof run) => remove('files')(runId(of)) },
    log: silentLog,
  } as unknown as VmMakerOptions
  return { maker: createVmMaker(options), hypervisor, removed }
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

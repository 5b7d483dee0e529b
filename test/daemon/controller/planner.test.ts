import t from 'tap'
import { daemonConfigSchema } from '../../../lib/config/daemon-schema.ts'
import { shareOf } from '../../../lib/daemon/controller/handlers/share-of.ts'
import type { Lease } from '../../../lib/daemon/controller/ledger/leases.ts'
import { openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createPlanner, type JobRequest } from '../../../lib/daemon/controller/planning/planner.ts'
import type { RunPlan } from '../../../lib/job/plan.ts'
import { share } from '../../../lib/protocol/messages/share.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { imageOf } from '../../support/image-of.ts'

const config = daemonConfigSchema.parse({ version: '1', cluster: { name: 'c' }, controller: { host: 'ctl' } })
const image = imageOf('tiny', {
  hostnames: { range: 'tiny-[1-4]' },
  access: { policy: 'listed', users: [{ name: 'alice' }], groups: [{ name: 'proj' }], accounts: [{ name: 'phys' }] },
})
const request: JobRequest = {
  ...{ job: 5, restart: 1, uid: 1, gid: 1, user: 'alice', account: '', nodes: 'n[1-2]', selector: '5' },
  request: { image: 'tiny', perNode: 2, script: 'guest' },
}

function setUp(entry = image) {
  const ledger = openLedger(':memory:')
  const slurm = createFakeSlurm()
  slurm.allocations.set('n1', { node: 'n1', cpus: 3, cpuIds: [0, 1, 4], memoryMib: 1000, tasks: 3 })
  slurm.allocations.set('n2', { node: 'n2', cpus: 2, cpuIds: [0, 1], memoryMib: 600, tasks: 1 })
  const planner = createPlanner({
    config,
    slurm,
    catalogue: async () => new Map([['tiny', entry]]),
    groupsOf: async (user) => (user === 'carol' ? ['carol', 'proj'] : [user]),
    underlayOf: async (node) => (node === 'n1' ? '10.99.0.11' : '10.99.0.12'),
  })
  const plan = async (of: JobRequest) => {
    const { uid, gid, user, account, job, restart } = of
    ledger.add({ job, restart, uid, gid, user, account, image: 'tiny', script: 'guest', deadlineMs: 0, beganMs: 0 })
    const make = await planner.plan(of)
    return ledger.setPlan(of, make)
  }
  return { plan, ledger, slurm }
}

t.test("each node's share fits the message that carries it", async (t) => {
  const { plan, ledger } = setUp()
  const { sshSecret } = await plan(request)
  const run = ledger.find(request)
  if (run === undefined) throw new Error('the run is not in the ledger')
  for (const node of ['n1', 'n2']) t.match(share.parse(shareOf(run, node)), { sshSecret, node })
  const { layout } = share.parse(shareOf(run, 'n1'))
  t.match(layout, { nodes: 'n[1+2]', underlays: '10.99.0.11+2', vms: '2*2', slots: '2,1*2,0' })
  t.match(layout, { hostnames: 'tiny-[1+4]', addresses: '10.77.0.2+4', macs: /\+4$/ })
})

t.test('every VM of the run is planned with its own names and numbers', async (t) => {
  const { plan } = setUp()
  const planned = await plan(request)
  t.match(planned, {
    image: 'tiny',
    revision: '7',
    prefixLength: 24,
    gateway: '10.77.0.1',
    vni: config.network.firstVni,
  })
  t.match(planned.nodes, [
    { node: 'n1', underlay: '10.99.0.11', cpuIds: [0, 1, 4], memoryMib: 1000 },
    { node: 'n2', underlay: '10.99.0.12', cpuIds: [0, 1], memoryMib: 600 },
  ])
  const slots = planned.nodes.map((node) => node.vms.map((vm) => vm.slots))
  t.same(
    slots,
    [
      [2, 1],
      [1, 0],
    ],
    "Slurm's tasks of a node are dealt out to its VMs",
  )
  t.match(planned.sshSecret, /^[0-9a-f]{64}$/)
  const vms = planned.nodes.flatMap((node) => node.vms)
  t.same(
    vms.map(({ index, hostname, address, vcpus, memoryMib }) => [index, hostname, address, vcpus, memoryMib]),
    [
      [0, 'tiny-1', '10.77.0.2', 2, 372],
      [1, 'tiny-2', '10.77.0.3', 1, 372],
      [2, 'tiny-3', '10.77.0.4', 1, 172],
      [3, 'tiny-4', '10.77.0.5', 1, 172],
    ],
  )
  t.equal(new Set(vms.map((vm) => vm.mac)).size, 4)
})

t.test('a range that is full is told by name, and takes nothing', async (t) => {
  const { plan, ledger } = setUp()
  await plan(request)
  await t.rejects(plan({ ...request, job: 6 }), {
    code: 'range-full',
    message: /image tiny: hostnames tiny-\[1-4\]: 4 wanted, 0 of 4 free/,
  })
  t.equal(ledger.find({ job: 6, restart: 1 })?.plan, undefined)
  const waits = await plan({ ...request, job: 7 }).catch((error: unknown) => error)
  t.match(waits, { wanted: { image: 'tiny', vms: 4 } })
  const failing = setUp({ ...image, limits: { ...image.limits, onFull: 'fail' } })
  await failing.plan(request)
  await t.rejects(failing.plan({ ...request, job: 6 }), { code: 'range-full', message: /4 wanted, 0 of 4 free/ })
})

t.test('VMs whose names are scattered too widely to be told are refused, fewer of them are not', async (t) => {
  const { plan, ledger, slurm } = setUp({
    ...image,
    hostnames: { range: 'tiny-[00001-20000]' },
    network: { ...image.network, addresses: '10.64.0.0/12' },
    limits: { ...image.limits, maxPerNode: 128, onFull: 'wait' },
  })
  const other = { job: 1, restart: 0 }
  const owner = { uid: 1, gid: 1, user: 'bob', account: '', image: 'tiny', script: 'guest' } as const
  ledger.add({ ...other, ...owner, deadlineMs: 0, beganMs: 0 })
  const eachSecond = Array.from({ length: 10_000 }, (_, at): Lease => {
    return { space: 'hostname', value: `tiny-${String(2 * at + 2).padStart(5, '0')}` }
  })
  const none: RunPlan = { image: 'tiny', revision: '7', vni: 1, prefixLength: 12, gateway: '', nodes: [] }
  ledger.setPlan(other, (leases) => {
    leases.hold(eachSecond, other)
    return none
  })
  for (let node = 1; node <= 40; node += 1) {
    const allocation = { node: `n${node}`, cpus: 128, cpuIds: [], memoryMib: 65_536, tasks: 128 }
    slurm.allocations.set(allocation.node, allocation)
  }
  const wanted = { image: 'tiny', perNode: 128, script: 'guest' } as const
  await t.rejects(plan({ ...request, nodes: 'n[1-40]', request: wanted }), {
    code: 'leases-scattered',
    message:
      /^image tiny: the names and addresses of 5120 VMs do not follow each other \(hostnames: 5120 ranges\); they take 5\d KiB, and what a VM is told has room for 48$/,
    hint: /Ask for fewer VMs/,
  })
  t.equal(ledger.leaseCount(), eachSecond.length, 'it leased nothing')
  await plan({ ...request, job: 6, nodes: 'n[1-20]', request: wanted })
  const run = ledger.find({ ...request, job: 6 })
  if (run === undefined) throw new Error('the run is not in the ledger')
  t.match(
    share.parse(shareOf(run, 'n1')).layout,
    { addresses: /^10\.64\.\d+\.\d+\+2560$/ },
    'what is not scattered is told in one range',
  )
})

t.test('users, groups and accounts that the entry lists may have the image, nobody else', async (t) => {
  for (const [user, account, allowed] of [
    ['alice', '', true],
    ['carol', '', true],
    ['bob', 'phys', true],
    ['root', '', true],
    ['bob', '', false],
    ['bob', 'chem', false],
  ] as const) {
    const { plan } = setUp()
    const planning = plan({ ...request, user, account })
    if (allowed) await t.resolves(planning, `${user} ${account}`)
    else await t.rejects(planning, { code: 'image-not-allowed', message: /user bob may not use image tiny/ })
  }
})

t.test('what cannot be planned is refused with the sentence the user reads', async (t) => {
  const vm = { image: 'tiny', perNode: 1, script: 'guest' as const }
  const cases: [Partial<JobRequest>, string, RegExp][] = [
    [{ request: { ...vm, image: 'none-such' } }, 'image-unknown', /no image none-such/],
    [{ request: { ...vm, revision: '8' } }, 'image-unknown', /revision 7, not 8/],
    [{ request: { ...vm, perNode: 3 } }, 'size-too-small', /2 CPUs on node n2; 3 VMs/],
    [{ request: undefined, refusal: 'VMRM_IMAGE cannot be used' }, 'request-invalid', /VMRM_IMAGE cannot be used/],
    [{ nodes: 'n[1-3]' }, 'command-failed', /n3/],
  ]
  for (const [change, code, message] of cases) {
    const { plan } = setUp()
    await t.rejects(plan({ ...request, ...change }), { code, message })
  }
})

t.test('an image that no agent exists for is refused', async (t) => {
  const { plan } = setUp({ ...image, os: { family: 'windows', agent: 'builtin', relay: true } })
  await t.rejects(plan(request), { code: 'image-unusable', message: /tiny is a Windows, for which there is no agent/ })
})

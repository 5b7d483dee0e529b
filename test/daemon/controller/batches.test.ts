// Batches from the message to the nodes, on the real ledger, transaction and planner; the nodes are stand-ins.
import t from 'tap'
import { daemonConfigSchema } from '../../../lib/config/daemon-schema.ts'
import { imageSchema } from '../../../lib/config/image-schema.ts'
import { createBatchHandlers } from '../../../lib/daemon/controller/batches/batch-handlers.ts'
import { createBatches } from '../../../lib/daemon/controller/batches/batches.ts'
import { createBatchPreparer } from '../../../lib/daemon/controller/batches/prepare-batch.ts'
import { forgetNode } from '../../../lib/daemon/controller/forget-node.ts'
import { openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createMessenger } from '../../../lib/daemon/controller/messenger.ts'
import { createNodeDrains } from '../../../lib/daemon/controller/node-drains.ts'
import { createPlanner } from '../../../lib/daemon/controller/planning/planner.ts'
import { createRemover } from '../../../lib/daemon/controller/remove-run.ts'
import { createTransactions } from '../../../lib/daemon/controller/transaction/transaction.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { batchRun, runId } from '../../../lib/job/run.ts'
import { silentLog } from '../../../lib/log.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { until } from '../../support/until.ts'

const config = daemonConfigSchema.parse({ version: '1', cluster: { name: 'c' }, controller: { host: 'ctl' } })
const image = imageSchema.parse({
  ...{ version: '1', name: 'tiny', revision: '7', os: { family: 'linux', agent: 'builtin' } },
  ...{ master: { path: '/m', format: 'raw' }, boot: { kind: 'firmware' }, hostnames: { range: 'tiny-[1-4]' } },
  network: { kind: 'private', addresses: '10.77.0.0/24' },
  access: { policy: 'listed', users: [{ name: 'alice' }] },
  limits: { maxMemoryMib: 2000, maxCpus: 8 },
})
const asked = { name: 'a', image: 'tiny', perNode: 2, cpus: 1, memoryMib: 200, user: 'alice' }
const root = { from: 'local', uid: 0, gid: 0, pid: 1 } as const

const exporting = imageSchema.parse({
  ...{ ...image, name: 'exporting', access: { policy: 'all' } },
  mounts: { entries: [{ kind: 'export', path: '/home', target: '/home' }] },
})

function setUp(mayLease = async () => {}) {
  const ledger = openLedger(':memory:')
  const slurm = createFakeSlurm()
  const told: string[] = []
  const silent = new Set<string>()
  const call = (what: string) => async (node: string, run: { job: number; restart: number }) => {
    if (silent.has(node)) throw new VmrmError('daemon-unreachable', 'no answer')
    told.push(`${what} ${node} ${runId(run)}`)
  }
  const caller = { verdict: call('verdict'), destroyRun: call('destroy'), prepareBatch: call('prepare') }
  const nodes = { ...caller, expectRun: async () => {} }
  const planner = createPlanner({
    ...{ config, slurm, catalogue: async () => new Map([image, exporting].map((each) => [each.name, each])) },
    groupsOf: async (user) => [user],
    underlayOf: async (node) => `10.99.0.${node.slice(1)}`,
  })
  const common = { ledger, log: silentLog, now: () => 1000 }
  const transactions = createTransactions({
    ...{ ...common, planner, prepareMs: 60_000, mayLease },
    messenger: createMessenger({
      ...{ ...common, nodes, slurm, reports: { answer: () => false } },
      drains: createNodeDrains({ ...common, slurm }),
    }),
    waitingRoom: { enter: async () => 'refused', leave: () => {} },
    onBatchAborted: (run) => batches.aborted(run),
  })
  const batches = createBatches({
    ...{ ...common, transactions, planner, mayLease },
    preparer: createBatchPreparer({ ...common, transactions, nodes, awayMs: 0 }),
    remover: createRemover({ ...common, transactions, nodes }),
    presentNodes: () => ledger.knownNodes().filter((node) => !silent.has(node)),
  })
  for (const node of ['n1', 'n2', 'n3']) ledger.rememberNode(node, '10.99.0.1', 1)
  const { 'create-batch': create, 'destroy-batch': destroy } = createBatchHandlers({
    ...{ batches, trustedUids: [0] },
    async lookUpAccount(user) {
      if (user === 'nobody-here') throw new VmrmError('command-failed', 'getent ended with 2')
      const isRoot = user === 0 || user === 'root'
      const name = isRoot ? 'root' : String(user)
      return { name, uid: isRoot ? 0 : 2001, gid: 2001, gecos: '', home: '/', shell: '/bin/sh', groups: [] }
    },
  })
  return { ledger, slurm, told, silent, batches, transactions, create, destroy }
}

t.test('each node is asked for its VMs, and what was asked for is planned', async (t) => {
  const { create, ledger, told, slurm } = setUp()
  t.same(await create({ ...asked, nodes: 'n[1-2]' }, root), { batch: 1, outcome: 'begun' })
  await until('both have heard', () => told.length === 2)
  t.same(told.sort(), ['prepare n1 b1r0', 'prepare n2 b1r0'])
  const record = ledger.find(batchRun(1))
  t.match(record, { state: 'preparing', user: 'alice', uid: 2001, image: 'tiny' })
  const vms = record?.plan?.nodes.flatMap((node) => node.vms) ?? []
  t.same(
    vms.map(({ hostname, vcpus, memoryMib }) => [hostname, vcpus, memoryMib]),
    [1, 2, 3, 4].map((number) => [`tiny-${number}`, 1, 200]),
  )
  const overhead = config.hypervisor.overheadMib
  t.same(
    record?.plan?.nodes.map(({ memoryMib, cpuIds }) => [memoryMib, cpuIds]),
    [1, 2].map(() => [2 * (200 + overhead), []]),
  )
  t.same(slurm.done, [])
})

t.test('a request that comes again changes nothing, and the same name for something else is refused', async (t) => {
  const { create, ledger } = setUp()
  const both = await Promise.all([create(asked, root), create(asked, root)])
  t.same(both.map(({ batch, outcome }) => `${batch} ${outcome}`).sort(), ['1 begun', '1 known'])
  t.equal((await create(asked, root)).outcome, 'known')
  await t.rejects(create({ ...asked, memoryMib: 201 }, root), {
    code: 'batch-exists',
    message: /^batch b1 has the name a/,
  })
  const { user: _, ...own } = asked
  await t.rejects(create(own, root), { code: 'batch-exists' }, 'the owner is a part of it')
  t.equal(ledger.inState('preparing').length, 1)
})

t.test('what cannot be is refused at once, and nothing is left of it', async (t) => {
  const { create, ledger } = setUp()
  const cases: [object, string, RegExp][] = [
    [{ image: 'nosuch' }, 'image-unknown', /nosuch/],
    [{ user: 'bob' }, 'image-not-allowed', /user bob may not/],
    [{ user: 'nobody-here' }, 'request-invalid', /no user nobody-here/],
    [{ memoryMib: 2001 }, 'size-over-limit', /2000 MiB a VM/],
    [{ nodes: 'n[1-4]' }, 'request-invalid', /not heard of a vmrmd on node n4/],
    [{ nodes: 'n1,n[1-2]' }, 'request-invalid', /n1 is named twice/],
    [{ nodeCount: 4 }, 'nodes-too-few', /4 nodes are wanted, and 3/],
  ]
  for (const [change, code, message] of cases)
    await t.rejects(create({ ...asked, ...change }, root), { code, message }, JSON.stringify(change))
  const alice = { ...root, uid: 2001 }
  await t.rejects(create(asked, alice), { code: 'not-permitted', message: /only root and SlurmUser/ })
  t.equal(ledger.hasGiven(1), false)
})

t.test('where only a number of nodes is given, those with the fewest VMs are taken', async (t) => {
  const { create, ledger, silent } = setUp()
  const nodesOf = (batch: number) => ledger.find(batchRun(batch))?.plan?.nodes.map(({ node }) => node)
  await create({ ...asked, nodes: 'n1', perNode: 1 }, root)
  await until('the first is planned', () => nodesOf(1) !== undefined)
  await create({ ...asked, name: 'b', nodeCount: 2, perNode: 1 }, root)
  await until('it is planned', () => nodesOf(2) !== undefined)
  t.same(nodesOf(2), ['n2', 'n3'])
  silent.add('n1')
  await t.rejects(create({ ...asked, name: 'c', nodeCount: 3 }, root), { code: 'nodes-too-few' })
})

t.test('a node that does not answer ends the batch everywhere, and Slurm hears nothing of it', async (t) => {
  const { create, ledger, silent, told, slurm, batches } = setUp()
  silent.add('n2')
  await create({ ...asked, nodes: 'n[1-2]' }, root)
  await until('it is being removed', () => told.includes('destroy n1 b1r0'))
  t.match(ledger.find(batchRun(1)), { state: 'ending', code: 'node-daemon-down', reason: /vmrmd of node n2 does not/ })
  t.equal(ledger.leaseCount() > 0, true, 'n2 has not confirmed')
  silent.delete('n2')
  batches.destroy({ name: 'a' })
  await until('it is over', () => ledger.find(batchRun(1))?.state === 'ended')
  t.equal(ledger.leaseCount(), 0)
  t.same(slurm.done, [])
})

t.test('a node that has forgotten a batch while it was made is asked again', async (t) => {
  const { create, told, batches, transactions } = setUp()
  await create({ ...asked, nodes: 'n[1-2]' }, root)
  await until('both have heard', () => told.length === 2)
  batches.nodeIsThere('n1')
  await until('n1 was asked again', () => told.length === 3)
  transactions.prepared(batchRun(1), 'n1')
  batches.nodeIsThere('n1')
  batches.nodeIsThere('n3')
  transactions.prepared(batchRun(1), 'n2')
  await until('it is decided', () => told.filter((line) => line.startsWith('verdict')).length === 2)
  t.equal(told.filter((line) => line.startsWith('prepare')).length, 3, 'not once it is prepared, and no other node')
})

t.test('a batch can be destroyed at any time and as often as one likes, by number or name', async (t) => {
  const { create, destroy, ledger } = setUp()
  await create(asked, root)
  const { state } = await destroy({ name: 'a' }, root)
  t.match(state, /ending|ended/)
  await until('it is over', () => ledger.find(batchRun(1))?.state === 'ended')
  t.equal(ledger.leaseCount(), 0)
  t.same(await destroy({ batch: 1 }, root), { batch: 1, state: 'ended' })
  ledger.forgetEndedBefore(Number.MAX_SAFE_INTEGER)
  t.same(await destroy({ batch: 1 }, root), { batch: 1, state: 'ended' }, 'also when it is forgotten')
  await t.rejects(destroy({ batch: 2 }, root), { code: 'batch-unknown' })
  await t.rejects(destroy({ name: 'nosuch' }, root), { code: 'batch-unknown' })
  await t.rejects(destroy({ batch: 1 }, { ...root, uid: 2001 }), { code: 'not-permitted' })
})

t.test(
  'what a forgotten node had of a batch is lost for good, and a batch that was nowhere else is over',
  async (t) => {
    const { create, ledger, transactions, told } = setUp()
    const forget = (node: string) =>
      forgetNode(node, { ledger, transactions, nodes: { answers: async () => false }, log: silentLog }).then((runs) =>
        runs.map(runId),
      )
    const run = batchRun(1)
    await create({ ...asked, nodes: 'n[1-2]' }, root)
    await until('both have heard', () => told.length === 2)
    for (const node of ['n1', 'n2']) transactions.prepared(run, node)
    t.match(ledger.find(run), { state: 'committed' })

    t.same(await forget('n2'), ['b1r0'])
    t.match(ledger.find(run), {
      state: 'lost',
      code: 'vm-lost',
      reason: /^VM b1r0v2 on node n2 is gone: an administrator/,
    })
    t.equal(transactions.verdict(run, 'n1').verdict, 'commit', 'the others go on')
    t.equal(transactions.verdict(run, 'n2').verdict, 'ended', 'it removes them if it comes back')
    await transactions.lost(run, { node: 'n2', vm: 'b1r0v3', reason: 'it has come back without it' })
    t.equal(transactions.verdict(run, 'n2').verdict, 'ended', 'whatever it tells then')
    t.ok(ledger.leaseCount() > 0)
    t.same(await forget('n2'), [], 'said again it changes nothing')
    t.same(await forget('n1'), ['b1r0'])
    t.match(ledger.find(run), { state: 'ended', reason: /^VM b1r0v2 / })
    t.equal(ledger.leaseCount(), 0)
  },
)

t.test('a batch that is being made ends with a node that is forgotten', async (t) => {
  const { create, ledger, transactions, told, slurm } = setUp()
  const nodes = { answers: async () => false }
  await create({ ...asked, nodes: 'n[1-2]' }, root)
  await until('both have heard', () => told.length === 2)
  await forgetNode('n2', { ledger, transactions, nodes, log: silentLog })
  await until('the other is told', () => told.includes('destroy n1 b1r0'))
  await until('it is over', () => ledger.find(batchRun(1))?.state === 'ended')
  t.match(ledger.find(batchRun(1)), { code: 'node-daemon-down', reason: /^node n2: an administrator has said that/ })
  t.equal(ledger.leaseCount(), 0)
  t.same(slurm.done, [])
})

t.test('a node that comes back while it is forgotten confirms the end itself', async (t) => {
  const { ledger } = setUp()
  const run = { job: 7, restart: 0 }
  ledger.add({
    ...run,
    uid: 1,
    gid: 1,
    user: 'x',
    account: '',
    image: 'tiny',
    script: 'guest',
    deadlineMs: 0,
    beganMs: 0,
  })
  ledger.setPlan(run, () => ({
    ...{ image: 'tiny', revision: '1', vni: 1, prefixLength: 24, gateway: '10.0.0.1' },
    nodes: [{ node: 'n1', underlay: '10.99.0.1', cpuIds: [], memoryMib: 500, vms: [] }],
  }))
  const ended: string[] = []
  const transactions = {
    // AdminComment takes its time, and the node's hello comes within it.
    failed: async () => ledger.rememberNode('n1', '10.99.0.1', 0),
    nodeEnded: (_run: unknown, node: string) => void ended.push(node),
  } as unknown as Parameters<typeof forgetNode>[1]['transactions']
  const options = { ledger, transactions, nodes: { answers: async () => false }, log: silentLog }
  t.equal((await forgetNode('n1', options)).length, 1)
  t.same(ended, [])
})

t.test('while the ledger is made again nobody can say that there is no such batch', async (t) => {
  let isDone = true
  const { create, destroy } = setUp(async () => {
    if (!isDone) throw new VmrmError('ledger-rebuilding', 'the controller has lost its records and waits for its nodes')
  })
  await create(asked, root)
  isDone = false
  t.match(await destroy({ name: 'a' }, root), { batch: 1 }, 'one that it has found already can go')
  for (const which of [{ batch: 7 }, { name: 'nosuch' }])
    await t.rejects(destroy(which, root), { code: 'ledger-rebuilding', message: /lost its records/ })
})

t.test("a batch of root's would be nobody on its nodes' folders", async (t) => {
  const { create, ledger } = setUp()
  const { user: _, ...own } = asked
  await t.rejects(create({ ...own, image: 'exporting' }, root), {
    ...{ code: 'request-invalid', message: /those of root's are nobody on them/, hint: /--user/ },
  })
  await t.rejects(create({ ...own, image: 'exporting', user: 'root' }, root), { code: 'request-invalid' })
  t.equal(ledger.hasGiven(1), false)
  t.match(await create({ ...asked, image: 'exporting' }, root), { outcome: 'begun' }, 'of another user it is made')
  t.match(await create({ ...own, name: 'b' }, root), { outcome: 'begun' }, "and root's of an image without exports")
})

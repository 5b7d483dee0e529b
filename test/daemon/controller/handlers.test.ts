import t from 'tap'
import type { Catalogue } from '../../../lib/config/load.ts'
import { createControllerHandlers } from '../../../lib/daemon/controller/handlers.ts'
import { openLedger } from '../../../lib/daemon/controller/ledger.ts'
import type { Transactions } from '../../../lib/daemon/controller/transaction.ts'
import { silentLog } from '../../../lib/log.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'

function setUp() {
  const ledger = openLedger(':memory:')
  const slurm = createFakeSlurm()
  const strangers: string[] = []
  const transactions = { verdict: () => ({ verdict: 'ended', reason: '' }) } as unknown as Transactions
  const handlers = createControllerHandlers({
    ...{ ledger, slurm, transactions, log: silentLog, trustedUids: [0], now: () => 1 },
    catalogue: {} as Catalogue,
    nodes: { heldRuns: async () => [] },
    rebuild: { isDone: () => true, stranger: async (node, run) => void strangers.push(`${node} ${run.job}`) },
    beginRun: async () => 'plain' as const,
    lookUpAccount: async () => {
      throw new Error('not asked here')
    },
  })
  const hello = async (...jobs: number[]) => {
    const runs = jobs.map((job) => ({ job, restart: 0, state: 'committed' as const }))
    const reply = await handlers['node-hello']({ node: 'n1', address: '10.99.0.11', health: 'ready', runs })
    return reply.runs.map((run) => [run.job, run.verdict])
  }
  return { slurm, hello, strangers }
}

t.test('a ledger that was lost is no reason to end jobs that Slurm still runs', async (t) => {
  const { slurm, hello, strangers } = setUp()
  slurm.states.set(1, 'active')
  slurm.states.set(2, 'completing')
  slurm.states.set(3, 'ended')
  slurm.states.set(4, 'pending')
  t.same(await hello(1, 2, 3, 4, 5), [
    [1, 'pending'],
    [2, 'pending'],
    [3, 'ended'],
    [4, 'ended'],
    [5, 'ended'],
  ])
  t.same(strangers, ['n1 1', 'n1 2'], 'and the node is asked for what it knows of them')
})

t.test('when neither ledger nor Slurm can tell, the node is told nothing', async (t) => {
  const { slurm, hello } = setUp()
  slurm.state = 'down'
  await t.rejects(hello(1), { code: 'command-failed' })
})

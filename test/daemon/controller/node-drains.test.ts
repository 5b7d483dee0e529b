import t from 'tap'
import { type Ledger, openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createMessenger } from '../../../lib/daemon/controller/messenger.ts'
import type { NodeCaller } from '../../../lib/daemon/controller/node-ports.ts'
import { silentLog } from '../../../lib/log.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { until } from '../../support/until.ts'

const run = { job: 7, restart: 0 }
const cause = { code: 'node-daemon-down', reason: 'the vmrmd of node n1 does not answer' }

function setUp() {
  const opened = openLedger(':memory:')
  const disk = { isFull: false }
  const ledger: Ledger = {
    ...opened,
    setDrained(node, drained) {
      if (disk.isFull) throw new Error('database or disk is full')
      opened.setDrained(node, drained)
    },
  }
  ledger.rememberNode('n1', '10.99.0.11', 0)
  const slurm = createFakeSlurm()
  const reports = { answer: () => false }
  const messenger = createMessenger({ ledger, slurm, reports, nodes: {} as NodeCaller, log: silentLog })
  return { ledger, slurm, messenger, disk }
}

t.test('whoever dies while a node is drained knows afterwards that the drain is its own to lift', async (t) => {
  const { ledger, slurm, messenger } = setUp()
  const { drain } = slurm
  const drained = Promise.withResolvers<void>()
  slurm.drain = async (...args) => {
    await drained.promise
    return drain(...args)
  }
  messenger.drainNode(run, 'n1', cause)
  t.ok(ledger.isDrained('n1'), 'before Slurm has done it')
  // A hello that comes now finds no drain that it could lift.
  ledger.setDrained('n1', 'not-drained')
  drained.resolve()
  await until('the drain is known', () => ledger.isDrained('n1'))
  t.same(slurm.done, [`drain n1 ${cause.reason}`])
})

t.test(
  'a ledger that cannot be written holds up no drain, and what an administrator has to see is not lifted',
  async (t) => {
    const { ledger, slurm, messenger, disk } = setUp()
    disk.isFull = true
    messenger.drainNode(run, 'n1', cause)
    await until('the drain', () => slurm.done.length > 0)
    disk.isFull = false
    await until('it is known', () => ledger.isDrained('n1'))
    const other = setUp()
    other.messenger.drainNode(run, 'n1', { code: 'node-fault', reason: 'no bridge' })
    await until('the other drain', () => other.slurm.done.length > 0)
    t.notOk(other.ledger.isDrained('n1'))
  },
)

// What is known of drains in every order in which Slurm, the ledger and hellos can be quick or slow.
import t from 'tap'
import { type Ledger, openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createNodeDrains } from '../../../lib/daemon/controller/node-drains.ts'
import { silentLog } from '../../../lib/log.ts'
import { createFakeSlurm, type FakeSlurm } from '../../fakes/slurm.ts'
import { until } from '../../support/until.ts'

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
  return { ledger, slurm, disk, drains: createNodeDrains({ ledger, slurm, log: silentLog }) }
}

/** Slurm answers that call when the returned function is called. */
function holdUp(slurm: FakeSlurm, call: 'drain' | 'resumeOwnDrain'): () => void {
  const { drain, resumeOwnDrain } = slurm
  const asked = Promise.withResolvers<void>()
  if (call === 'drain') slurm.drain = (...args) => asked.promise.then(() => drain(...args))
  else slurm.resumeOwnDrain = (node) => asked.promise.then(() => resumeOwnDrain(node))
  return asked.resolve
}

t.test('whoever dies while a node is drained knows afterwards that the drain is its own to lift', async (t) => {
  const { ledger, slurm, drains } = setUp()
  const answer = holdUp(slurm, 'drain')
  const drained = drains.drain('n1', cause)
  t.ok(ledger.isDrained('n1'), 'before Slurm has done it')
  answer()
  await drained
  t.ok(ledger.isDrained('n1'))
  t.same(slurm.done, [`drain n1 ${cause.reason}`])
})

t.test('a lift that is wished for while a drain is under way comes after it', async (t) => {
  const { ledger, slurm, drains } = setUp()
  const answer = holdUp(slurm, 'drain')
  const drained = drains.drain('n1', cause)
  drains.lift('n1')
  answer()
  await drained
  await until('it is lifted', () => !ledger.isDrained('n1'))
  t.same(slurm.done, [`drain n1 ${cause.reason}`, 'resume n1'])
})

t.test('a drain that is wished for while another is lifted is known to be there', async (t) => {
  const { ledger, slurm, drains } = setUp()
  const answer = holdUp(slurm, 'resumeOwnDrain')
  ledger.setDrained('n1', 'drained')
  drains.lift('n1')
  const drained = drains.drain('n1', cause)
  answer()
  await drained
  t.ok(ledger.isDrained('n1'))
  t.same(slurm.done, ['resume n1', `drain n1 ${cause.reason}`])
})

t.test('a ledger that cannot be written holds up no drain, and who asked for it learns of it', async (t) => {
  const { ledger, slurm, drains, disk } = setUp()
  disk.isFull = true
  await t.rejects(drains.drain('n1', cause), { message: /full/ })
  t.same(slurm.done, [`drain n1 ${cause.reason}`])
  disk.isFull = false
  await drains.drain('n1', cause)
  t.ok(ledger.isDrained('n1'), 'the second try has it written')
})

t.test('what an administrator has to see is not lifted', async (t) => {
  const { ledger, slurm, drains } = setUp()
  await drains.drain('n1', { code: 'node-fault', reason: 'no bridge' })
  t.same(slurm.done, ['drain n1 no bridge'])
  t.notOk(ledger.isDrained('n1'))
})

t.test('what Slurm refuses is told of once, by who asked', async (t) => {
  const opened = setUp()
  const events: string[] = []
  const log = { ...silentLog, error: (event: string) => void events.push(event) }
  const drains = createNodeDrains({ ledger: opened.ledger, slurm: opened.slurm, log })
  opened.slurm.drain = async () => {
    throw new Error('scontrol ended with 1')
  }
  await t.rejects(drains.drain('n1', cause), { message: 'scontrol ended with 1' })
  t.same(events, [], 'nothing says that the node is drained')
})

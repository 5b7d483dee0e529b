// What the log says of a node that is to be drained: an administrator acts on it.
import t from 'tap'
import { openLedger } from '../../../lib/daemon/controller/ledger/ledger.ts'
import { createMessenger } from '../../../lib/daemon/controller/messenger.ts'
import { createNodeDrains } from '../../../lib/daemon/controller/node-drains.ts'
import type { NodeCaller } from '../../../lib/daemon/controller/node-ports.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { createLog } from '../../../lib/log.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'
import { until } from '../../support/until.ts'

const run = { job: 7, restart: 0 }
const cause = { code: 'node-daemon-down', reason: 'the vmrmd of node n1 does not answer' }
const reason = JSON.stringify(cause.reason)

function setUp() {
  const ledger = openLedger(':memory:')
  ledger.rememberNode('n1', '10.99.0.11', 0)
  const slurm = createFakeSlurm()
  const lines: string[] = []
  const log = createLog({ level: 'warn', write: (line) => lines.push(line.split(' ').slice(1).join(' ').trimEnd()) })
  const drains = createNodeDrains({ ledger, slurm, log })
  const reports = { answer: () => false }
  const messenger = createMessenger({ ledger, slurm, drains, reports, nodes: {} as NodeCaller, log })
  return { slurm, messenger, lines }
}

t.test('a drain is told once, when Slurm has taken it, however often it was tried', async (t) => {
  const { slurm, messenger, lines } = setUp()
  const { drain } = slurm
  let tries = 0
  slurm.drain = async (...args) => {
    tries += 1
    t.same(lines, [], 'nothing is told before')
    if (tries < 3) throw new Error('no answer')
    return drain(...args)
  }
  messenger.drainNode(run, 'n1', cause)
  await until('the drain is told', () => lines.length > 0)
  t.equal(tries, 3)
  t.same(lines, [`error node.drained node=n1 reason=${reason}`])
})

t.test('a drain that Slurm refuses is told as none, with the node and what is wrong with it', async (t) => {
  const { slurm, messenger, lines } = setUp()
  slurm.drain = async () => {
    throw new VmrmError('command-failed', 'scontrol ended with 1', { quoted: 'Access denied' })
  }
  messenger.drainNode(run, 'n1', cause)
  await until('it is told', () => lines.length > 0)
  t.same(lines, [`warn node.not-drained run=j7r0 node=n1 reason=${reason} text="scontrol ended with 1: Access denied"`])
})

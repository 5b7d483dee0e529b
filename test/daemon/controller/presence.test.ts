import t from 'tap'
import { createPresence } from '../../../lib/daemon/controller/presence.ts'
import { until } from '../../support/until.ts'

t.test('a node is lost when its last connection has ended and none came back in time', async (t) => {
  const lost: string[] = []
  const presence = createPresence({ graceMs: 1, answers: async () => false, onLost: (node) => lost.push(node) })
  t.teardown(() => presence.close())
  for (const node of ['n1', 'n1', 'n2', 'n3']) presence.connected(node)
  presence.gone('n1')
  presence.gone('n2')
  await until('n2 is lost', () => lost.length > 0)
  t.same(lost, ['n2'], 'n1 has another connection, n3 has not left')
  presence.connected('n2')
  presence.gone('n2')
  await until('n2 is lost again', () => lost.length > 1)
  t.same(lost, ['n2', 'n2'])
})

t.test('a node that comes back in time was not lost', async (t) => {
  const lost: string[] = []
  const presence = createPresence({ graceMs: 50, answers: async () => false, onLost: (node) => lost.push(node) })
  t.teardown(() => presence.close())
  for (const node of ['n1', 'n2']) {
    presence.connected(node)
    presence.gone(node)
  }
  presence.connected('n1')
  await until('n2 is lost', () => lost.includes('n2'))
  t.same(lost, ['n2'])
})

t.test('a node that has lost its connection and answers is asked again until it does not', async (t) => {
  const lost: string[] = []
  const asked: string[] = []
  const presence = createPresence({
    graceMs: 1,
    answers: async (node) => asked.push(node) < 3,
    onLost: (node) => lost.push(node),
  })
  t.teardown(() => presence.close())
  presence.connected('n1')
  presence.gone('n1')
  await until('n1 is lost', () => lost.length > 0)
  t.same([asked, lost], [['n1', 'n1', 'n1'], ['n1']])
})

t.test('a node that should be there, and never was, is lost like one that has left', async (t) => {
  const lost: string[] = []
  const presence = createPresence({ graceMs: 1, answers: async () => false, onLost: (node) => lost.push(node) })
  t.teardown(() => presence.close())
  presence.connected('n1')
  for (const node of ['n1', 'n2']) presence.expect(node)
  await until('n2 is lost', () => lost.length > 0)
  t.same([presence.isLost('n1'), presence.isLost('n2')], [false, true])
  t.same([presence.isConnected('n1'), presence.isConnected('n2')], [true, false])
  presence.connected('n2')
  t.equal(presence.isLost('n2'), false)
})

// How long a batch is waited for, and what is said meanwhile; the controller is a stand-in, time is the test's.
import t from 'tap'
import { awaitBatch, type ListedBatch } from '../../lib/command/batch/await-batch.ts'
import type { ProtocolClient } from '../../lib/protocol/client.ts'

/** A controller whose batch has these states, one an answer, the last one for ever; each answer takes two seconds of the clock. */
function setUp(t: Tap, states: readonly string[]) {
  let nowMs = 0
  let asked = 0
  t.intercept(performance, 'now', { value: () => nowMs })
  const call = async () => {
    nowMs += 2000
    return { runs: [{ batch: 7, state: states[Math.min(asked++, states.length - 1)], reason: 'a node has gone' }] }
  }
  const told: ListedBatch[] = []
  return {
    controller: { call } as unknown as ProtocolClient,
    told,
    onSlowEnd: (run: ListedBatch) => void told.push(run),
    asked: () => asked,
  }
}

type Tap = typeof t

t.test('a batch whose removal takes long is told of once, and waited for', async (t) => {
  const { controller, told, onSlowEnd } = setUp(t as Tap, ['preparing', ...Array<string>(4).fill('ending'), 'ended'])
  t.match(await awaitBatch(controller, { batch: 7, until: 'decided', onSlowEnd }), { state: 'ended' })
  t.match(told, [{ state: 'ending', reason: 'a node has gone' }])
  t.equal(told.length, 1)
})

t.test('of one that is soon removed nothing is told', async (t) => {
  const { controller, told, onSlowEnd } = setUp(t as Tap, ['preparing', 'ending', 'ended'])
  t.match(await awaitBatch(controller, { batch: 7, until: 'decided', onSlowEnd }), { state: 'ended' })
  t.same(told, [])
})

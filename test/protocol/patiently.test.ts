import t from 'tap'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { type Patience, patiently } from '../../lib/protocol/patiently.ts'

const nobody = () => new VmrmError('daemon-unreachable', 'nobody answers')

/** Tries that take so long and then fail, or succeed at the end of the list. */
function tries(tookMs: readonly number[], patience: Partial<Patience> = {}, error: () => Error = nobody) {
  const clock = { ms: 0 }
  const left = [...tookMs]
  let waits = 0
  const outcome = patiently(
    async () => {
      const ms = left.shift()
      if (ms === undefined) return 'told'
      clock.ms += ms
      throw error()
    },
    {
      ...{ patienceMs: 100, pauseMs: 1, now: () => clock.ms, isAway: ({ code }) => code === 'daemon-unreachable' },
      onWait: () => {
        waits += 1
      },
      ...patience,
    },
  )
  return { outcome, left, waits: () => waits }
}

t.test('who is away is told again until the patience is over, counted from the first try', async (t) => {
  const soon = tries([40, 40])
  t.equal(await soon.outcome, 'told')
  t.equal(soon.waits(), 1, 'and the wait is said once')
  const late = tries([40, 40, 40, 40])
  await t.rejects(late.outcome, { code: 'daemon-unreachable' })
  t.equal(late.left.length, 1)
  await t.rejects(tries([0], { patienceMs: 0 }).outcome, { code: 'daemon-unreachable' }, 'or not at all')
})

t.test('a failure that does not mean that is final', async (t) => {
  const { outcome, left } = tries([1, 1], {}, () => new VmrmError('not-permitted', 'no'))
  await t.rejects(outcome, { code: 'not-permitted' })
  t.equal(left.length, 1)
  const hung = tries([300, 1], { isAway: (_error, tookMs) => tookMs < 300 })
  await t.rejects(hung.outcome, { code: 'daemon-unreachable' })
  t.equal(hung.left.length, 1)
})

t.test('one who was there for long and has gone is waited for anew', async (t) => {
  t.equal(await tries([90, 5000, 90], { presentMs: 100 }).outcome, 'told')
  await t.rejects(tries([5000, 90], {}).outcome, { code: 'daemon-unreachable' })
})

t.test('a pause ends with the signal', async (t) => {
  const stop = new AbortController()
  const { outcome } = tries([1], { pauseMs: 600_000, signal: stop.signal, onWait: () => stop.abort() })
  await t.rejects(outcome, { name: 'AbortError' })
})

import t from 'tap'
import { createFailures } from '../../../../lib/daemon/node/templates/failures.ts'

t.test('a failure holds another try up for a while, and no longer', async (t) => {
  let nowMs = 0
  const failures = createFailures(() => nowMs)
  t.equal(failures.find('a'), undefined)
  failures.add('a', 'it panicked')
  t.equal(failures.find('a')?.reason, 'it panicked')
  nowMs = (failures.find('a')?.untilMs ?? 0) - 1
  t.ok(failures.find('a'))
  nowMs += 1
  t.equal(failures.find('a'), undefined)
})

t.test('it can be forgotten, and there are never more than a few hundred', async (t) => {
  const failures = createFailures(() => 0)
  failures.add('a', 'no')
  failures.forget('a')
  t.equal(failures.find('a'), undefined)
  for (let index = 0; index < 1000; index++) failures.add(`k${index}`, 'no')
  t.equal(failures.find('k0'), undefined, 'the oldest gives way')
  t.ok(failures.find('k999'))
})

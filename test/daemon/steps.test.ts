// The steps at which tests of crashes hold a daemon: who is held, until when, and that nobody is where none asked for it.
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { until } from '../support/until.ts'

t.test('a step is held for who comes first, or for everyone until it is released', async (t) => {
  const folder = t.testdir()
  // Read when the module is loaded, as a process gets it at its start.
  process.env.VMRM_TEST_STEPS = folder
  const { reached } = await import('../../lib/daemon/steps.ts')
  for (const who of ['first', 'everyone'] as const) {
    const asked = join(folder, 'verdict.received@j7r0')
    writeFileSync(asked, who)
    const passed: string[] = []
    const come = (name: string, subject: string) =>
      reached('verdict.received', subject).then(() => void passed.push(name))
    const [first, second, other] = [come('first', 'j7r0v0'), come('second', 'j7r0'), come('other', 'j8r0')]
    await until('the hold', () => existsSync(`${asked}.held`) && !existsSync(asked))
    await delay(30)
    t.same(passed.toSorted(), who === 'first' ? ['other', 'second'] : ['other'], who)
    rmSync(`${asked}.held`)
    await Promise.all([first, second, other])
    await come('later', 'j7r0')
    t.equal(passed.length, 4, 'the step is held once')
  }
})

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { expectRun, forgetExpected } from '../../../lib/daemon/node/expected-runs.ts'

t.test('an expected run has a marker that the plug-in reads, and only that one is taken back', async (t) => {
  const folder = t.testdir({})
  const marker = join(folder, '7')
  await expectRun(folder, { job: 7, restart: 1 }, 'host')
  t.match(readFileSync(marker, 'utf8'), /^script=host\n/)
  t.equal(statSync(marker).mode & 0o777, 0o644)
  await forgetExpected(folder, { job: 7, restart: 0 })
  t.ok(existsSync(marker), 'a newer run is expected')
  await expectRun(folder, { job: 7, restart: 2 }, 'guest')
  t.match(readFileSync(marker, 'utf8'), /^script=guest\n/, 'again replaces it')
  await forgetExpected(folder, { job: 7, restart: 2 })
  t.notOk(existsSync(marker))
  await forgetExpected(folder, { job: 7, restart: 2 })
  writeFileSync(marker, 'script=guest\n')
  await forgetExpected(folder, { job: 7, restart: 9 })
  t.ok(existsSync(marker), "one that the gate wrote goes with the gate's own Epilog")
})

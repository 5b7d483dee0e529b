import { readFileSync } from 'node:fs'
import t from 'tap'
import { killPoints } from './kill-points.ts'
import { pagePath, withList } from './list.ts'

t.test('there are enough kill points, each once, and the page lists them', async (t) => {
  const names = killPoints().map(({ step, victim }) => `${victim} at ${step}`)
  t.ok(names.length >= 40, `${names.length} kill points`)
  t.equal(new Set(names).size, names.length)
  const page = readFileSync(pagePath, 'utf8')
  t.equal(page, withList(page), 'node test/crash/list.ts makes it')
})

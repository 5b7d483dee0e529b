import { readFileSync } from 'node:fs'
import t from 'tap'
import { type StepName, steps } from '../../lib/daemon/steps.ts'
import { batchPoints } from '../batches/kill-points.ts'
import { killPoints } from './kill-points.ts'
import { pagePath, withList } from './list.ts'
import { pairs } from './plays.ts'

t.test('there are enough kill points, each once, and the page lists them', async (t) => {
  const names = killPoints().map(({ step, victim }) => `${victim} at ${step}`)
  t.ok(names.length >= 40, `${names.length} kill points`)
  t.equal(new Set(names).size, names.length)
  const ofBatches = batchPoints().map(({ step, victim }) => `${victim} at ${step}`)
  t.equal(new Set(ofBatches).size, ofBatches.length)
  const killedSomewhere = new Set([...killPoints(), ...batchPoints()].map(({ step }) => step))
  t.same(
    Object.keys(steps).filter((step) => !killedSomewhere.has(step as StepName)),
    [],
    'somebody is killed at each step',
  )
  const swept = new Set(pairs.map(({ step, victim }) => `${victim} at ${step}`))
  t.equal(swept.size, pairs.length)
  const notSwept = names.filter((name) => !swept.has(name))
  t.same(notSwept, [], 'the campaign has them, too')
  const page = readFileSync(pagePath, 'utf8')
  t.equal(page, withList(page), 'node test/crash/list.ts makes it')
})

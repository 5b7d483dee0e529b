// test/crash/campaign: random jobs through random kill points, or every pair of a step and a victim once, each followed by the leak
// ledger, beside a job that nobody may touch. It ends with 1 at the first after which something was wrong, and says which.
import { parseArgs } from 'node:util'
import { nodeStates } from '../support/batch.ts'
import { type Cluster, clusterCommand, openCluster } from '../support/cluster.ts'
import { compareLedgers, type Ledger, takeLedger } from '../support/leaks.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'
import { judge } from './judge.ts'
import { allPairs, type Play, randomPlay } from './plays.ts'
import { failedRecoveries, logEnds, recoveries } from './recoveries.ts'
import { play } from './scenario.ts'
import { images, lanes, makeStage, withBystander } from './stage.ts'

const boundMs = 180_000
const lookEveryMs = 200
/** So many beside one bystander, which has an hour. */
const together = 10

const { values } = parseArgs({
  options: {
    ...{ seeds: { type: 'string' }, seed: { type: 'string' } },
    ...{ pairs: { type: 'boolean' }, pair: { type: 'string' } },
  },
})
const plays = asked()
if (plays.length === 0) {
  process.stderr.write('usage: test/crash/campaign --seeds N [--seed S] | --pairs [--pair P]\n')
  process.exit(64)
}

const say = (line: string) => void process.stdout.write(`${line}\n`)
await clusterCommand(['up', '--nodes', '4'])
try {
  const cluster = openCluster()
  await cluster.waitUntilIdle()
  await makeStage(cluster)
  await withImages(cluster, images, () => campaign(cluster))
} finally {
  await clusterCommand(['down'])
}

/** None where that cannot be understood. */
function asked(): readonly Play[] {
  if (values.pairs === true)
    return allPairs().filter((_, at) => values.pair === undefined || at === Number(values.pair))
  const count = Number(values.seeds ?? 1)
  const first = Number(values.seed ?? Date.now() % 1_000_000)
  if (!Number.isInteger(count) || !Number.isInteger(first)) return []
  return Array.from({ length: Math.max(count, 0) }, (_, at) => randomPlay(first + at))
}

async function campaign(cluster: Cluster): Promise<void> {
  const since = logEnds(cluster.layout)
  const isRight = (problems: readonly string[], what: string) => {
    for (const problem of problems) say(`  ${problem}`)
    if (problems.length > 0) say(`FAIL ${what}`)
    return problems.length === 0
  }
  let isWhole = true
  for (let at = 0; at < plays.length && isWhole; at += together) {
    const touched = await withBystander(cluster, async (before) => {
      for (const one of plays.slice(at, at + together)) {
        isWhole = isRight(await playOne(cluster, one, before), `test/crash/campaign ${one.options}`)
        if (!isWhole) return
      }
    })
    isWhole = isRight(touched, 'the bystander') && isWhole
  }
  isWhole = isRight(failedRecoveries(cluster.layout, since), 'a recovery') && isWhole
  for (const { text } of recoveries(cluster.layout, since)) say(text)
  if (!isWhole) process.exitCode = 1
}

async function playOne(cluster: Cluster, one: Play, before: Ledger): Promise<readonly string[]> {
  const { shape, points, options } = one
  const { nodes, perNode, image = 'tiny', memoryMib, strategy = 'all-or-nothing' } = shape
  const beganMs = performance.now()
  const names = points.map(({ step, victim }) => `${victim} at ${step}`)
  const size = memoryMib === undefined ? '' : `, ${memoryMib} MiB`
  say(`${options}: ${nodes} x ${perNode} VMs of ${image}${size}, ${strategy}: ${names.join(', ')}`)
  const result = await play(cluster, lanes[0] as (typeof lanes)[number], { points, shape })
  const problems = await judge(cluster, one, result)
  await rest(cluster)
  const left = await leftOf(cluster, before)
  const seconds = Math.round((performance.now() - beganMs) / 1000)
  say(`  ${result.outcome}, ${result.missed.length} of ${points.length} steps not reached, ${seconds} s`)
  return [...problems, ...left]
}

/** Nodes that Slurm or vmrm drained take jobs again; the bystander is on each. */
async function rest(cluster: Cluster): Promise<void> {
  await until(
    'every node takes jobs again',
    async () => {
      const states = await nodeStates(cluster)
      if (states.some((line) => / drain/.test(line)))
        await cluster.run(['scontrol', 'update', `NodeName=${cluster.nodes.join(',')}`, 'State=RESUME'])
      return states.every((line) => line.endsWith(' mixed'))
    },
    boundMs,
    lookEveryMs,
  )
}

async function leftOf(cluster: Cluster, before: Ledger): Promise<readonly string[]> {
  let differences: string[] = []
  const isClean = async () => {
    differences = compareLedgers(before, await takeLedger(cluster.layout))
    return differences.length === 0
  }
  await until('the state from before', isClean, boundMs, lookEveryMs).catch(() => {}) // what is left is the answer
  return differences
}

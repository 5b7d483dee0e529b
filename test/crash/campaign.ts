// test/crash/campaign: seeded runs of random jobs through random kill points, each followed by the leak ledger. It ends with 1
// at the first seed after which something was wrong, and says which.
import { parseArgs } from 'node:util'
import { type StepName, steps } from '../../lib/daemon/steps.ts'
import { nodeStates } from '../support/batch.ts'
import { type Cluster, clusterCommand, openCluster } from '../support/cluster.ts'
import { compareLedgers, type Ledger, takeLedger } from '../support/leaks.ts'
import { createRandom, type Random } from '../support/random.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'
import type { KillPoint } from './kill-points.ts'
import { play, type Shape, vmMib } from './scenario.ts'
import { images, lanes, makeStage, recoveries } from './stage.ts'
import type { Victim } from './victims.ts'

const boundMs = 180_000
const lookEveryMs = 200
/** No job comes to a step of batches. */
const stepNames = (Object.keys(steps) as StepName[]).filter((step) => !step.startsWith('batch.'))

const { values } = parseArgs({ options: { seeds: { type: 'string' }, seed: { type: 'string' } } })
const count = Number(values.seeds ?? 1)
const first = Number(values.seed ?? Date.now() % 1_000_000)
if (!(Number.isInteger(count) && count > 0 && Number.isInteger(first))) {
  process.stderr.write('usage: test/crash/campaign --seeds N [--seed S]\n')
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

async function campaign(cluster: Cluster): Promise<void> {
  const before = await takeLedger(cluster.layout)
  for (let seed = first; seed < first + count; seed += 1) {
    const problems = await playSeed(cluster, seed, before)
    for (const problem of problems) say(`  ${problem}`)
    if (problems.length === 0) continue
    say(`FAIL seed ${seed}: test/crash/campaign --seeds 1 --seed ${seed}`)
    process.exitCode = 1
    break
  }
  say(recoveries(cluster.layout).text)
}

async function playSeed(cluster: Cluster, seed: number, before: Ledger): Promise<readonly string[]> {
  const random = createRandom(seed)
  const shape: Shape = {
    nodes: random.pick([1, 2, 2]),
    perNode: 1 + random.int(3),
    strategy: random.pick(['all-or-nothing', 'all-or-nothing', 'best-effort']),
    image: random.pick(['tiny', 'crash', 'crash-boot']),
    // One of the sizes that may have no template yet.
    memoryMib: vmMib + 4 * random.int(8),
  }
  const points = randomPoints(random)
  const beganMs = performance.now()
  const names = points.map(({ step, victim }) => `${victim} at ${step}`)
  say(
    `seed ${seed}: ${shape.nodes} x ${shape.perNode} VMs of ${shape.image}, ${shape.memoryMib} MiB, ${shape.strategy}: ${names.join(', ')}`,
  )
  const { outcome, output, reason, missed } = await play(cluster, lanes[0] as (typeof lanes)[number], { points, shape })
  const problems: string[] = []
  const tasks = new Set([...output.matchAll(/^\d+: (\S+-\d{4})$/gm)].map(([, host]) => host)).size
  const all = shape.nodes * shape.perNode
  if (outcome === 'all' && shape.strategy !== 'best-effort' && tasks !== all)
    problems.push(`${tasks} of ${all} VMs ran a task: ${output}`)
  if (outcome === 'none' && /^vms /m.test(output) && !/^vmrm: /m.test(output))
    problems.push(`it failed without a reason: ${output}`)
  if (outcome === 'none' && !/^vmrm: /m.test(output) && reason === '') problems.push(`there is no reason: ${output}`)
  await rest(cluster)
  problems.push(...(await left(cluster, before)))
  const seconds = Math.round((performance.now() - beganMs) / 1000)
  say(`  ${outcome}, ${missed.length} of ${points.length} steps not reached, ${seconds} s`)
  return problems
}

/** One to three, in the order in which a run comes to them. */
function randomPoints(random: Random): readonly KillPoint[] {
  const chosen = new Set(Array.from({ length: 1 + random.int(3) }, () => random.int(stepNames.length)))
  return [...chosen]
    .sort((a, b) => a - b)
    .map((at) => {
      const step = stepNames[at] as StepName
      const isHook = /Prolog|Epilog/.test(steps[step][0])
      const hasVm =
        /^(template\.(created|booted)|start\.(?!files)|prepare\.(made|prepared|reported|answered)|verdict)/.test(step)
      const everywhere: Victim[] = ['node', 'controller', 'libvirtd', 'nobody']
      return {
        step,
        victim: random.pick([...everywhere, ...(isHook ? ['hook' as const] : []), ...(hasVm ? ['qemu' as const] : [])]),
      }
    })
}

/** Nodes that Slurm or vmrm drained take jobs again. */
async function rest(cluster: Cluster): Promise<void> {
  await until(
    'every node takes jobs again',
    async () => {
      const states = await nodeStates(cluster)
      if (states.some((line) => / drain/.test(line)))
        await cluster.run(['scontrol', 'update', `NodeName=${cluster.nodes.join(',')}`, 'State=RESUME'])
      return states.every((line) => line.endsWith(' idle'))
    },
    boundMs,
    lookEveryMs,
  )
}

async function left(cluster: Cluster, before: Ledger): Promise<readonly string[]> {
  let differences: string[] = []
  const isClean = async () => {
    differences = compareLedgers(before, await takeLedger(cluster.layout))
    return differences.length === 0
  }
  await until('the state from before', isClean, boundMs, lookEveryMs).catch(() => {}) // what is left is the answer
  return differences
}

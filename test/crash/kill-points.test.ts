// Every kill point once: whoever is killed at whatever step, the job has all its VMs or none and a reason, nothing of it is
// left, and the VMs of another job on the same nodes run on.
import t, { type Test } from 'tap'
import { catalogue } from '../../lib/errors/catalogue.ts'
import { nodeStates } from '../support/batch.ts'
import type { Cluster } from '../support/cluster.ts'
import { withJobs } from '../support/job-cluster.ts'
import type { Ledger } from '../support/leaks.ts'
import { until } from '../support/until.ts'
import { controllerScenarios, killPoints, nodeScenarios, type Scenario } from './kill-points.ts'
import { leasesOf, leftOn } from './nothing-left.ts'
import { checkRecoveries, logEnds } from './recoveries.ts'
import { type Lane, play, type Result } from './scenario.ts'
import { lanes, withStage } from './stage.ts'

const boundMs = 120_000
const lookEveryMs = 200

/** Where a job plays, the state before any, and the runs that were played: their leases are looked at in the end. */
interface Place {
  readonly cluster: Cluster
  readonly lane: Lane
  readonly before: Ledger
  readonly runs: string[]
}

async function nothingIsLeft(
  t: Test,
  { cluster, lane, before, runs }: Place,
  job: number,
  name: string,
): Promise<void> {
  const run = `j${job}r0`
  runs.push(run)
  t.same(await leftOn(cluster, lane, run, before), [], `${name}: nothing is left`)
}

/** What a user finds must be all of the job or one reason. */
function check(t: Test, scenario: Scenario, { outcome, output, reason }: Result): void {
  const { name, shape: { nodes, perNode } = { nodes: 2, perNode: 1 } } = scenario
  t.ok(scenario.outcomes.includes(outcome), `${name}: ${outcome}\n${output}`)
  if (outcome === 'all') {
    const hosts = [...output.matchAll(/^\d+: (\S+-\d{4})$/gm)].map(([, host]) => host)
    t.equal(new Set(hosts).size, nodes * perNode, `${name}: a task in each VM\n${output}`)
    t.match(output, /^ran$/m, name)
    return
  }
  t.notMatch(output, /^ran$|^vms |^\d: \S+-\d{4}$/m, `${name}: nothing of it ran`)
  if (outcome === 'again') return
  const lines = output.trimEnd().split('\n')
  const sentences = lines.filter((line) => !line.startsWith('vmrm:   | ') && !hints.has(line))
  t.same(sentences.map(withoutEnd), [withoutEnd(reason)], `${name}: one reason, which is AdminComment's\n${output}`)
  t.match(reason, /^vmrm: \S/, `${name}: AdminComment`)
}

const hints = new Set(Object.values(catalogue).map(({ hint }) => `vmrm: ${hint}`))

/** Of a VM that has ended tasks and AdminComment say the same, but for when that was. */
const withoutEnd = (sentence: string) =>
  sentence.trimEnd().replace(/^(vmrm: VM \S+ on node \S+) (?:ended while the job ran|is gone): /, '$1: ')

/** Eight VMs on two nodes, one of which fails: whichever it is, there are none. */
async function failOneOfEight(t: Test, place: Place, queue: number[]): Promise<void> {
  const { cluster, lane } = place
  for (let vm = queue.shift(); vm !== undefined; vm = queue.shift()) {
    const step = (['start.created', 'start.confined', 'start.resumed'] as const)[vm % 3] ?? 'start.created'
    // The last one while others boot.
    const image = vm === 7 ? 'crash-boot' : 'crash-idle'
    const points = [{ step, victim: 'qemu', vm }] as const
    const result = await play(cluster, lane, { points, shape: { nodes: 2, perNode: 4, image } })
    const name = `VM ${vm} of 8 fails at ${step}`
    check(t, { name, points: [], outcomes: ['none'] }, result)
    t.same(result.missed, [], `${name}: the step was reached`)
    t.match(result.reason, new RegExp(`^vmrm: VM j${result.job}r0v${vm} on node ${lane[vm < 4 ? 0 : 1]}[: ]`), name)
    await nothingIsLeft(t, place, result.job, name)
  }
}

/** The same with best-effort: the job begins with the others, unless it is the first VM. */
async function failWithBestEffort(t: Test, place: Place): Promise<void> {
  const { cluster, lane } = place
  const shape = { nodes: 2, perNode: 2, strategy: 'best-effort', image: 'crash-boot' } as const
  const most = await play(cluster, lane, { points: [{ step: 'start.resumed', victim: 'qemu', vm: 3 }], shape })
  const { output, job } = most
  t.equal(most.outcome, 'all', `it begins with three of four\n${output}`)
  const tasks = new Set([...output.matchAll(/^(\d): \S+-\d{4}$/gm)].map(([, task]) => task))
  t.same([...tasks].toSorted(), ['0', '1', '2'], output)
  const [, missing = ''] =
    /^vmrm: this job began without some of its VMs, .*: (\S+) did not come up/m.exec(output) ?? []
  t.match(missing, /^crash-boot-\d{4}$/, `a line says which\n${output}`)
  const [, up = '', without = ''] = /^vms (\S+) without (\S*)$/m.exec(output) ?? []
  t.equal(without, missing, 'the environment says the same')
  const names = (await cluster.run(['scontrol', 'show', 'hostnames', up])).stdout.trim().split('\n')
  t.equal(names.length, 3, `and which came up: ${up}`)
  t.notOk(names.includes(missing))
  const task = `vmrm: VM j${job}r0v3 on node ${lane[1]} did not come up, and the job began without it: `
  t.ok(output.includes(task), `a task that belongs there says so\n${output}`)
  const ps = (await cluster.run(['vmrm', 'ps', String(job)])).stdout
  t.match(ps, new RegExp(`j${job}r0v3 +${missing} .* missing`), ps)
  t.match(most.reason, /^vmrm: 1 of 4 VMs did not come up: VM /)
  await nothingIsLeft(t, place, job, 'best-effort')

  const first = await play(cluster, lane, {
    points: [{ step: 'start.resumed', victim: 'qemu', vm: 0 }],
    shape: { ...shape, perNode: 1 },
  })
  const name = 'best-effort without the first VM'
  check(t, { name, points: [], outcomes: ['none'] }, first)
  await nothingIsLeft(t, place, first.job, name)
}

async function makeIdle(cluster: Cluster, lane: Lane, scenario: Scenario): Promise<void> {
  await until(
    `nodes ${lane.join(' and ')} take jobs again after ${scenario.name}`,
    async () => {
      const mine = (await nodeStates(cluster)).filter((line) => lane.some((node) => line.startsWith(`${node} `)))
      const drained = mine.filter((line) => / drain/.test(line))
      if (scenario.drains === 'by-slurm' && drained.length > 0) {
        await cluster.run(['scontrol', 'update', `NodeName=${lane.join(',')}`, 'State=RESUME'])
      }
      return mine.every((line) => / mixed$/.test(line))
    },
    boundMs,
    lookEveryMs,
  )
}

async function playAll(t: Test, place: Place, queue: Scenario[]): Promise<void> {
  const { cluster, lane } = place
  for (let scenario = queue.shift(); scenario !== undefined; scenario = queue.shift()) {
    const beganMs = performance.now()
    const result = await play(cluster, lane, scenario)
    t.same(result.missed, [], `${scenario.name}: every step was reached`)
    check(t, scenario, result)
    await nothingIsLeft(t, place, result.job, scenario.name)
    await makeIdle(cluster, lane, scenario)
    t.comment(`${scenario.name}: ${result.outcome}, ${Math.round((performance.now() - beganMs) / 1000)} s`)
  }
}

t.test('whoever is killed at whatever step, a job has all its VMs or none', async (t) => {
  await withJobs(
    t,
    'crash',
    async ({ cluster }) => {
      await withStage(t, cluster, async ({ before }) => {
        const since = logEnds(cluster.layout)
        const queue = [...nodeScenarios]
        const vms = [0, 1, 2, 3, 4, 5, 6, 7]
        const runs: string[] = []
        const places = lanes.map((lane): Place => ({ cluster, lane, before, runs }))
        await Promise.all(
          places.map(async (place, at) => {
            await playAll(t, place, queue)
            if (at === 0) await failWithBestEffort(t, place)
            await failOneOfEight(t, place, vms)
          }),
        )
        t.same(await leasesOf(cluster, runs), [], 'all leases are free')
        await playAll(t, places[0] as Place, [...controllerScenarios])
        t.same(await leasesOf(cluster, runs), [], 'and those of the jobs whose controller was killed')
        const kills = (role: string) => killPoints().filter(({ victim }) => victim === role).length
        const killed = { node: kills('node'), controller: kills('controller') }
        checkRecoveries(t, { layout: cluster.layout, since, kills: killed })
      })
    },
    ['--nodes', '4'],
  )
})

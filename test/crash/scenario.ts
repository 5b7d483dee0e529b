// One job through its kill points: stop a process at each step, kill the victim, bring it back, let go; then what became of
// the job. What is left of it is nothing-left.ts's.
import { statSync } from 'node:fs'
import { steps } from '../../lib/daemon/steps.ts'
import { logPath } from '../cluster/daemons.ts'
import { controllerName, hostNamed } from '../cluster/layout.ts'
import { jobFields } from '../support/batch.ts'
import type { Cluster } from '../support/cluster.ts'
import { until } from '../support/until.ts'
import { type Hold, holdAt } from './held-steps.ts'
import type { KillPoint, Outcome, Scenario } from './kill-points.ts'
import { kill } from './victims.ts'

/** Two nodes that only this scenario uses; the first is where the node's steps are held and its victims are killed. */
export type Lane = readonly [string, string]

export interface Result {
  readonly job: number
  readonly outcome: Outcome
  readonly output: string
  readonly reason: string
  /** Points that the job did not come to. */
  readonly missed: readonly KillPoint[]
}

export interface Shape {
  /** Default: `tiny`, whose VMs are clones of a template that is there; `crash` has none yet, the others never. */
  readonly image?: 'tiny' | 'crash' | 'crash-boot' | 'crash-idle'
  /** Of each VM. Each size has a template of its own. */
  readonly memoryMib?: number
  readonly nodes: 1 | 2
  readonly perNode: number
  readonly strategy?: 'all-or-nothing' | 'best-effort'
}

/** As the bystander's, which has brought its template with it. */
export const vmMib = 300
/** Boots under a busy emulator take long, and so does a requeue. */
const boundMs = 500_000
/** Each look at a job or at a host starts programs: between two of them slurmctld has said something, or this has passed. */
const lookEveryMs = 200
const lookAnywayMs = 2000
const script = `#!/bin/sh
echo "vms $VMRM_VMS without $VMRM_VMS_MISSING"
srun -l hostname
echo ran
`

const onController: readonly string[] = ['controller', 'PrologSlurmctld', 'EpilogSlurmctld']

function placeOf({ step, vm }: KillPoint, lane: Lane, { perNode }: Shape): string {
  if (onController.includes(steps[step][0])) return controllerName
  return vm !== undefined && vm >= perNode ? lane[1] : lane[0]
}

/** Submits the job, held until the first point's stop is asked for, so that no step is missed. */
export async function play(
  cluster: Cluster,
  lane: Lane,
  { points, shape = { nodes: 2, perNode: 1 } }: Pick<Scenario, 'points'> & { shape?: Shape },
): Promise<Result> {
  const { layout } = cluster
  const job = await submitHeld(cluster, lane, shape)
  const subjectOf = ({ step, vm }: KillPoint) =>
    step.startsWith('template.') ? 'any' : `j${job}r0${vm === undefined ? '' : `v${vm}`}`
  const outcomeByNow = watchOutcome(cluster, job)
  const missed: KillPoint[] = []
  let next: Hold | undefined
  const ask = (point: KillPoint | undefined) => {
    if (point === undefined) next = undefined
    // A verdict that is asked for once more would let the job begin meanwhile.
    else {
      const who = point.victim === 'qemu' ? 'everyone' : 'first'
      next = holdAt(layout, placeOf(point, lane, shape), point.step, subjectOf(point), who)
    }
  }
  ask(points[0])
  await cluster.run(['scontrol', 'release', String(job)])
  for (const [at, point] of points.entries()) {
    const hold = next
    const held = await hold?.reached(outcomeByNow, boundMs)
    if (held === undefined) missed.push(point)
    const place = placeOf(point, lane, shape)
    // At a step of the controller's the node's daemons are killed on the first node.
    const host = place === controllerName && point.victim !== 'hook' ? lane[0] : place
    const subject = held?.subject.startsWith('t') ? held.subject : subjectOf(point)
    const back = held && (await kill(point.victim, { layout, host, subject, pid: held.pid }))
    // Before anybody goes on: the next step may come at once.
    ask(points[at + 1])
    hold?.release()
    await back?.()
  }
  next?.release()
  const outcome = await until(`what becomes of job ${job}`, outcomeByNow, boundMs, lookEveryMs)
  const fields = await jobFields(cluster, job)
  const output = (await cluster.run(['cat', `/home/alice/job-${job}.out`])).stdout
  if (outcome === 'again') await cluster.run(['scancel', String(job)])
  return { job, outcome, output, reason: fields.get('AdminComment') ?? '', missed }
}

async function submitHeld(cluster: Cluster, lane: Lane, shape: Shape): Promise<number> {
  const { nodes, perNode, strategy, image = 'tiny', memoryMib = vmMib } = shape
  const options = [`--nodelist=${lane.slice(0, nodes).join(',')}`, `--nodes=${nodes}`, `--ntasks-per-node=${perNode}`]
  const vm = [`--vm-image=${image}`, `--vm-per-node=${perNode}`, `--mem=${perNode * memoryMib}`, '--cpus-per-task=1']
  if (strategy !== undefined) vm.push(`--vm-strategy=${strategy}`)
  const argv = ['sbatch', '--hold', '--parsable', '--output=/home/alice/job-%j.out', ...options, ...vm]
  const submitted = await cluster.run(argv, { user: 'alice', input: script })
  const job = Number(submitted.stdout.trim())
  if (!(job > 0)) throw new Error(`sbatch: ${submitted.stderr}`)
  return job
}

/** Undefined while it is not over, as far as slurmctld has told. */
function watchOutcome(cluster: Cluster, job: number): () => Promise<Outcome | undefined> {
  const log = logPath(hostNamed(cluster.layout, controllerName), 'slurmctld')
  let looked = { atMs: Number.NEGATIVE_INFINITY, bytes: -1 }
  return async () => {
    const { size: bytes } = statSync(log)
    const agoMs = performance.now() - looked.atMs
    if (agoMs < lookEveryMs || (bytes === looked.bytes && agoMs < lookAnywayMs)) return undefined
    looked = { atMs: performance.now(), bytes }
    return outcomeOf(cluster, job)
  }
}

async function outcomeOf(cluster: Cluster, job: number): Promise<Outcome | undefined> {
  const fields = await jobFields(cluster, job)
  if (Number(fields.get('Restarts')) > 0) return 'again'
  const state = fields.get('JobState') ?? ''
  if (state === 'COMPLETED') return 'all'
  return /^(FAILED|CANCELLED|NODE_FAIL|TIMEOUT)/.test(state) ? 'none' : undefined
}

// Every kill point: a step, who is killed there, and what may become of the job. Points of one scenario hit one job, in this
// order. The list in docs/internals/transactions.md is made from this.
import type { StepName } from '../../lib/daemon/steps.ts'
import type { Shape } from './scenario.ts'
import type { Victim } from './victims.ts'

/**
 * `all`: the job runs in all its VMs. `none`: it fails with one reason, nothing of it runs. `again`: Slurm requeues it and
 * nothing of this run is left.
 */
export type Outcome = 'all' | 'none' | 'again'

export interface KillPoint {
  readonly step: StepName
  readonly victim: Victim
  /** Which of the run's VMs; without it the first that comes to the step. */
  readonly vm?: number
}

export interface Scenario {
  readonly name: string
  readonly points: readonly KillPoint[]
  readonly outcomes: readonly Outcome[]
  /** Default: a clone on each of two nodes. */
  readonly shape?: Shape
  /** Slurm itself drains a node whose Prolog or Epilog was killed; an administrator lifts that. */
  readonly drains?: 'by-slurm'
}

const of = (victim: Victim, ...names: StepName[]): readonly KillPoint[] => names.map((step) => ({ step, victim }))
const one = (victim: Victim, step: StepName, ...outcomes: Outcome[]): Scenario => ({
  name: `${victim} at ${step}`,
  points: of(victim, step),
  outcomes,
})

/** Without a template: a clone whose QEMU ends boots instead. */
const booted: Shape = { nodes: 2, perNode: 1, image: 'crash-boot' }
/** For what comes before the guest has booted. */
const idle: Shape = { nodes: 2, perNode: 1, image: 'crash-idle' }
/** A size that no VM had before: its template is made for this job. */
const fresh = (memoryMib: number): Shape => ({ nodes: 1, perNode: 1, memoryMib, image: 'crash' })

/** Nothing here kills the controller, which would end what another job prepares: so two of these can run side by side. */
export const nodeScenarios: readonly Scenario[] = [
  {
    name: "the node's vmrmd from its first step on, and in the removal",
    points: [
      ...of('node', 'prepare.journaled', 'prepare.shared', 'prepare.network', 'prepare.export', 'prepare.cgroup'),
      ...of('node', 'prepare.templates', 'start.files', 'start.created', 'start.confined', 'start.loaded'),
      ...of('node', 'start.resumed', 'prepare.prepared'),
      ...of('node', 'remove.journaled', 'remove.destroyed', 'remove.cgroup', 'remove.parts', 'remove.checked'),
      ...of('node', 'remove.forgotten'),
    ],
    outcomes: ['all'],
  },
  {
    name: "the node's vmrmd from the guest's first word to the verdict",
    points: of(
      'node',
      ...(['start.answered', 'start.identified', 'prepare.made'] as const),
      ...(['prepare.reported', 'verdict.received', 'verdict.journaled'] as const),
    ),
    outcomes: ['all'],
  },
  {
    name: "the node's vmrmd while it makes a template",
    points: [
      ...of('node', 'template.begun', 'template.created', 'template.booted', 'template.saved'),
      ...of('node', 'template.published'),
    ],
    outcomes: ['all'],
    shape: fresh(304),
  },
  { ...one('qemu', 'template.created', 'all'), shape: fresh(308) },
  { ...one('qemu', 'template.booted', 'all'), shape: fresh(312) },
  { ...one('qemu', 'start.loaded', 'all'), shape: fresh(316) },
  { ...one('libvirtd', 'template.begun', 'all', 'again'), shape: fresh(332) },
  { ...one('libvirtd', 'template.created', 'all', 'again'), shape: fresh(320) },
  { ...one('libvirtd', 'template.booted', 'all', 'again'), shape: fresh(324) },
  { ...one('qemu', 'start.created', 'none'), shape: idle },
  { ...one('qemu', 'start.resumed', 'none'), shape: idle },
  { ...one('qemu', 'start.answered', 'none'), shape: booted },
  { ...one('qemu', 'start.identified', 'none'), shape: booted },
  one('qemu', 'prepare.made', 'none'),
  one('qemu', 'prepare.prepared', 'none'),
  one('qemu', 'verdict.received', 'none'),
  {
    name: 'libvirtd under a run that is ready, QEMU and libvirtd in the removal',
    points: [
      ...of('libvirtd', 'start.resumed', 'prepare.prepared', 'verdict.journaled'),
      ...of('qemu', 'remove.journaled'),
      ...of('libvirtd', 'remove.destroyed'),
    ],
    outcomes: ['all'],
  },
  one('libvirtd', 'prepare.shared', 'all', 'again'),
  one('libvirtd', 'start.files', 'all', 'again'),
  one('libvirtd', 'start.created', 'all', 'again'),
  one('libvirtd', 'remove.journaled', 'all'),
  // Slurm (22.05) takes a PrologSlurmctld that was killed for one that has ended well.
  one('hook', 'begin.asked', 'none'),
  one('hook', 'begin.answered', 'all'),
  { ...one('hook', 'prepare.asked', 'again'), drains: 'by-slurm' },
  { ...one('hook', 'prepare.answered', 'again'), drains: 'by-slurm' },
  { ...one('hook', 'remove.asked', 'all'), drains: 'by-slurm' },
  { ...one('hook', 'remove.answered', 'all'), drains: 'by-slurm' },
  one('hook', 'end.asked', 'all'),
  one('hook', 'end.answered', 'all'),
]

/** One at a time, with no other job preparing. */
export const controllerScenarios: readonly Scenario[] = [
  one('controller', 'begin.recorded', 'none'),
  one('controller', 'begin.planned', 'none'),
  one('controller', 'begin.leased', 'none'),
  { ...one('controller', 'template.booted', 'none'), shape: fresh(328) },
  one('controller', 'start.created', 'none'),
  one('controller', 'prepare.prepared', 'none'),
  one('controller', 'verdict.recorded', 'none'),
  {
    name: 'the controller once it has decided, and when the job ends',
    points: of('controller', 'verdict.decided', 'verdict.journaled', 'end.recorded'),
    outcomes: ['all'],
  },
  {
    name: 'the controller when it has told one node, and when a node has removed its VMs',
    points: of('controller', 'verdict.telling', 'remove.forgotten'),
    outcomes: ['all'],
  },
  // By itself: a hello of the node that is held there can confirm the end before the controller is killed.
  one('controller', 'end.confirmed', 'all'),
  // By itself: after a kill at the step before, the recovery takes this one before the daemon answers.
  one('controller', 'end.finished', 'all'),
]

/** Each once, in the order of the steps. */
export function killPoints(): readonly (KillPoint & { outcomes: readonly Outcome[] })[] {
  const all = [...nodeScenarios, ...controllerScenarios]
  return all.flatMap(({ points, outcomes }) => points.map((point) => ({ ...point, outcomes })))
}

// What the campaign plays: jobs with random points, or each sensible pair of a step and a victim once. It plays nothing itself.
import { type StepName, steps } from '../../lib/daemon/steps.ts'
import { createRandom, type Random } from '../support/random.ts'
import type { KillPoint } from './kill-points.ts'
import { type Shape, vmMib } from './scenario.ts'
import type { Victim } from './victims.ts'

export interface Play {
  /** What plays it again. */
  readonly options: string
  readonly shape: Shape
  readonly points: readonly KillPoint[]
}

/** No job comes to a step of batches. */
const stepNames = (Object.keys(steps) as StepName[]).filter((step) => !step.startsWith('batch.'))
/** Where the first node's VMs, or that of a template, are sure to have a QEMU. */
const hasQemu =
  /^(template\.(created|booted)|start\.(?!files)|prepare\.(made|prepared|reported|answered)|verdict|remove\.(asked|journaled))/

/** `nobody`: the step is only delayed. */
export function victimsAt(step: StepName): readonly Victim[] {
  const isHook = /Prolog|Epilog/.test(steps[step][0])
  return [
    ...(['nobody', 'node', 'controller', 'libvirtd'] as const),
    ...(isHook ? (['hook'] as const) : []),
    ...(hasQemu.test(step) ? (['qemu'] as const) : []),
  ]
}

/** Whether all of it comes before the decision, so that a job which fails of it has not begun. */
export const isBeforeDecision = (points: readonly KillPoint[]): boolean =>
  points.every(({ step }) => stepNames.indexOf(step) < stepNames.indexOf('verdict.decided'))

export function randomPlay(seed: number): Play {
  const random = createRandom(seed)
  const shape: Shape = {
    nodes: random.pick([1, 2, 2]),
    perNode: 1 + random.int(3),
    strategy: random.pick(['all-or-nothing', 'all-or-nothing', 'best-effort']),
    image: random.pick(['tiny', 'crash', 'crash-boot']),
    // One of the sizes that may have no template yet.
    memoryMib: vmMib + 4 * random.int(8),
  }
  return { options: `--seeds 1 --seed ${seed}`, shape, points: randomPoints(random) }
}

/** Every pair of a step and somebody who can be killed there. */
export const pairs: readonly KillPoint[] = stepNames.flatMap((step) =>
  victimsAt(step).flatMap((victim) => (victim === 'nobody' ? [] : [{ step, victim }])),
)

/** Each once, those of templates in jobs whose template is not there yet. */
export function allPairs(): readonly Play[] {
  const isTemplates = ({ step }: KillPoint) => step.startsWith('template.')
  const ofTemplates = pairs.filter(isTemplates)
  return pairs.map((point, at) => ({
    options: `--pairs --pair ${at}`,
    shape: isTemplates(point)
      ? { nodes: 1, perNode: 1, image: 'crash', memoryMib: vmMib + 4 * (ofTemplates.indexOf(point) + 1) }
      : { nodes: 2, perNode: 1 },
    points: [point],
  }))
}

/** One to three, in the order in which a run comes to them. */
function randomPoints(random: Random): readonly KillPoint[] {
  const chosen = new Set(Array.from({ length: 1 + random.int(3) }, () => random.int(stepNames.length)))
  return [...chosen]
    .sort((a, b) => a - b)
    .map((at) => {
      const step = stepNames[at] as StepName
      return { step, victim: random.pick(victimsAt(step)) }
    })
}

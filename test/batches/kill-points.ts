// Every kill point of a batch: a step, who is killed there, and what may become of the batch. The list in
// docs/internals/transactions.md is made from this.
import type { StepName } from '../../lib/daemon/steps.ts'
import type { Victim } from '../crash/victims.ts'

/** `all`: all its VMs are there. `none`: nothing of it is left, and `vmrm create` says one reason. */
export type BatchOutcome = 'all' | 'none'

export interface BatchPoint {
  readonly step: StepName
  /** Where it is taken; of a node's daemons those of n1 are killed. */
  readonly host: 'ctl' | 'n1'
  readonly victim: Victim
}

export interface BatchScenario {
  readonly making: BatchPoint
  readonly outcomes: readonly BatchOutcome[]
  /** While what was made is destroyed. */
  readonly removal?: BatchPoint
}

const at = (step: StepName, host: BatchPoint['host'], victim: Victim): BatchPoint => ({ step, host, victim })

/** On two nodes. The node's daemons are killed on the first. */
export const batchScenarios: readonly BatchScenario[] = [
  { making: at('batch.recorded', 'ctl', 'controller'), outcomes: ['none'] },
  { making: at('batch.telling', 'ctl', 'controller'), outcomes: ['none'] },
  {
    making: at('verdict.decided', 'ctl', 'controller'),
    outcomes: ['all'],
    removal: at('remove.journaled', 'n1', 'node'),
  },
  {
    making: at('prepare.journaled', 'n1', 'node'),
    outcomes: ['all'],
    removal: at('end.recorded', 'ctl', 'controller'),
  },
  {
    making: at('start.identified', 'n1', 'node'),
    outcomes: ['all'],
    removal: at('end.confirmed', 'ctl', 'controller'),
  },
  {
    making: at('verdict.received', 'n1', 'node'),
    outcomes: ['all'],
    removal: at('remove.destroyed', 'n1', 'node'),
  },
  // Before it has the batch's number.
  {
    making: at('batch.recorded', 'ctl', 'client'),
    outcomes: ['all'],
    removal: at('remove.journaled', 'n1', 'libvirtd'),
  },
  { making: at('prepare.shared', 'n1', 'libvirtd'), outcomes: ['all', 'none'] },
  { making: at('start.created', 'n1', 'libvirtd'), outcomes: ['all', 'none'] },
  {
    making: at('prepare.prepared', 'n1', 'libvirtd'),
    outcomes: ['all'],
    removal: at('remove.destroyed', 'n1', 'libvirtd'),
  },
]

/** The outcome of one in the removal is that nothing is left. */
export function batchPoints(): readonly (BatchPoint & { readonly outcomes: readonly string[] })[] {
  return batchScenarios.flatMap(({ making, outcomes, removal }) => [
    { ...making, outcomes },
    ...(removal === undefined ? [] : [{ ...removal, outcomes: ['gone'] }]),
  ])
}

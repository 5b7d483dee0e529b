// Takes what nodes have told of their runs into the ledger: what it does not know, or knows less of than they do. It asks nobody.
import { runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { eachOrFirstError } from '../../each-or-first-error.ts'
import type { AdoptedRun, Ledger, RunRecord } from '../ledger/ledger.ts'
import { runFromNodes, type ToldRun } from './told-run.ts'

export interface TakeUpOptions {
  readonly ledger: Ledger
  readonly log: Log
  readonly told: readonly ToldRun[]
  /** Nodes that have told all that they hold. */
  readonly answered: ReadonlySet<string>
  /** Until when a run that is undecided has. */
  readonly deadlineMs: number
}

/** All that can be; then it throws what first could not be written. */
export function takeUp(options: TakeUpOptions): void {
  const { ledger, log, told, answered, deadlineMs } = options
  const runs = Map.groupBy(told, (each) => runId(each) as string)
  eachOrFirstError(runs, ([name, [first, ...others]]) => {
    if (first === undefined) return
    const run = runFromNodes([first, ...others], { answered, deadlineMs })
    if (!isNews(run, ledger.find(first))) return
    // First, since a run that is known is taken up no more.
    if (run.batch !== undefined) ledger.adoptBatch(run.batch)
    const moved = ledger.adopt(run)
    log.warn('run.taken-up', { run: name, state: run.state, nodes: run.shares.length })
    for (const { space, value } of moved) log.error('lease.moved', { run: name, space, value })
  })
}

function isNews(run: AdoptedRun, known: RunRecord | undefined): boolean {
  if (known === undefined) return true
  if (known.state === run.state) return false
  if (known.plan === undefined && known.state !== 'ended') return true
  const isDecided = run.state !== 'preparing' && run.state !== 'ending'
  return isDecided && (known.state === 'preparing' || known.state === 'aborted')
}

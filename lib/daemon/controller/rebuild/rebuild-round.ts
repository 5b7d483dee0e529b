// One round of making the ledger whole: every node that may hold something and has not told is asked, what they tell is taken up,
// and what Slurm says is over ends.
import { isBatch, type Run } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { SlurmCommands } from '../../../slurm/commands.ts'
import type { JobState } from '../../../slurm/job-details.ts'
import { eachOrFirstError } from '../../each-or-first-error.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Transactions } from '../transaction/transaction.ts'
import type { NodeAnswers } from './node-answers.ts'
import { takeUp } from './take-up.ts'

export interface RoundOptions {
  readonly ledger: Ledger
  readonly transactions: Pick<Transactions, 'end' | 'nodeEnded'>
  readonly slurm: Pick<SlurmCommands, 'jobStates' | 'nodeStates'>
  readonly log: Log
  /** What an undecided run has until it is aborted. */
  readonly prepareMs: number
  readonly now: () => number
}

/** Returns the nodes that may hold something and have still not told. Rejects where Slurm does not answer or something cannot be written, or with the signal's reason. */
export async function rebuildRound(
  answers: NodeAnswers,
  options: RoundOptions,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { ledger, slurm, log } = options
  const [states, jobs] = await Promise.all([slurm.nodeStates(), slurm.jobStates()])
  const inLedger = ledger.inState('preparing', 'committed', 'aborted', 'lost', 'ending')
  const holders = inLedger.flatMap((run) => ledger.shares(run).map(({ node }) => node))
  const asked = new Set([...states.keys(), ...holders].filter((node) => states.get(node) !== 'off'))
  const before = answers.answered()
  await answers.ask(
    [...asked].filter((node) => !before.has(node)),
    () => true,
  )
  signal.throwIfAborted()
  const answered = answers.answered()
  const deadlineMs = options.now() + options.prepareMs
  const parts = [
    () => takeUp({ ledger, log, told: answers.all(), answered, deadlineMs }),
    () => endWhatIsOver(inLedger, { answers, jobs, ...options }),
  ]
  eachOrFirstError(parts, (part) => part())
  const gone = ledger.goneNodes()
  const doubtful = [...states].filter(([, state]) => state === 'doubtful').map(([node]) => node)
  return doubtful.filter((node) => !answered.has(node) && !gone.has(node)).sort()
}

function endWhatIsOver(
  runs: readonly Run[],
  options: RoundOptions & { answers: NodeAnswers; jobs: ReadonlyMap<number, JobState> },
): void {
  const { ledger, transactions, answers, jobs } = options
  eachOrFirstError(runs, (run) => {
    const isWithout = ({ node }: { node: string }) => answers.isWithout(node, run)
    // Slurm cannot say whether a batch was destroyed since; that none of its nodes has it can only mean that. Of one without a
    // plan nobody knows its nodes.
    const ofBatch = () => {
      const shares = ledger.shares(run)
      return shares.length > 0 && shares.every(isWithout) ? 'ended' : 'active'
    }
    const state = isBatch(run) ? ofBatch() : (jobs.get(run.job) ?? 'ended')
    if (state !== 'ended' && state !== 'pending') return
    transactions.end(run)
    for (const share of ledger.shares(run)) if (isWithout(share)) transactions.nodeEnded(run, share.node)
  })
}

// Compares the ledger with Slurm and with the nodes, and ends what is over. With every hook lost this alone cleans up.
import { isBatch, runId } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'
import { eachOrFirstError } from '../each-or-first-error.ts'
import { oneOf } from '../one-of-errors.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { Remover } from './remove-run.ts'
import type { Transactions } from './transaction/transaction.ts'

const keepEndedMs = 24 * 3600 * 1000

export interface Reconciler {
  /** One round. Rejects, in one sentence, with all that could not be asked of Slurm or be written; then all is done that does not need it. */
  round(): Promise<void>
}

export function createReconciler(options: {
  ledger: Ledger
  transactions: Transactions
  slurm: SlurmCommands
  remover: Remover
  log: Log
  /** Runs younger than this are left alone, so that a creation is never raced. */
  minimumAgeMs: number
  /** How long the nodes' own Epilogs have for a run that is ending. */
  epilogMs: number
  now: () => number
}): Reconciler {
  const { ledger, transactions, slurm, remover, log, now } = options
  const endingSince = new Map<string, number>()

  /** Ends the runs whose job is over. */
  const endOrphans = async () => {
    const open = ledger.inState('preparing', 'committed', 'aborted', 'lost').filter((run) => !isBatch(run))
    const old = open.filter((run) => now() - run.beganMs > options.minimumAgeMs)
    if (old.length === 0) return
    const states = await slurm.jobStates()
    eachOrFirstError(old, (run) => {
      const state = states.get(run.job) ?? 'ended'
      if (state !== 'ended' && state !== 'pending') return
      log.info('run.orphaned', { run: runId(run), job: state })
      transactions.end(run)
    })
  }

  /** Batches belong to no job: they are there until they are destroyed, unless they could not be made. */
  const endAborted = async () => eachOrFirstError(ledger.inState('aborted').filter(isBatch), transactions.end)

  /** Removes what no Epilog has removed in its time, and batches at once. */
  const removeOverdue = async () => {
    const ending = ledger.inState('ending')
    const names = new Set(ending.map((run) => runId(run) as string))
    for (const name of endingSince.keys()) if (!names.has(name)) endingSince.delete(name)
    const overdue = ending.filter((run) => {
      const since = endingSince.get(runId(run)) ?? now()
      endingSince.set(runId(run), since)
      return isBatch(run) || now() - since > options.epilogMs
    })
    // All at once: each run that has a share on a node that is dead waits for the call's whole bound.
    await Promise.all(overdue.map((run) => remover.remove(run)))
    ledger.forgetEndedBefore(now() - keepEndedMs)
  }

  return {
    async round() {
      // A Slurm that does not answer holds up no removal. An aborted batch is ended first, and removed in the same round.
      const parts = await Promise.allSettled([endAborted(), endOrphans(), removeOverdue()])
      const problems = parts.flatMap((part) => (part.status === 'rejected' ? [part.reason as unknown] : []))
      if (problems.length > 0) throw oneOf(problems)
    },
  }
}

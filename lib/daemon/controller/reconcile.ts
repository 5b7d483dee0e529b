// Compares the ledger with Slurm and with the nodes, and ends what is over. With every hook lost this alone cleans up.
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { runId } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'
import type { Ledger, RunRecord } from './ledger.ts'
import type { NodeCaller } from './messenger.ts'
import type { Transactions } from './transaction.ts'

const keepEndedMs = 24 * 3600 * 1000

export interface Reconciler {
  /** One round. Rejects if Slurm cannot be asked; then nothing was changed. */
  round(): Promise<void>
}

export function createReconciler(options: {
  ledger: Ledger
  transactions: Transactions
  slurm: SlurmCommands
  nodes: NodeCaller
  log: Log
  /** Runs younger than this are left alone, so that a creation is never raced. */
  minimumAgeMs: number
  /** How long the nodes' own Epilogs have for a run that is ending. */
  epilogMs: number
  now: () => number
}): Reconciler {
  const { ledger, transactions, slurm, nodes, log, now } = options
  const endingSince = new Map<string, number>()

  const removeFromNodes = async (run: RunRecord) => {
    const left = ledger.shares(run).filter((share) => share.state !== 'ended')
    if (left.length === 0) transactions.end(run)
    await Promise.all(
      left.map(async ({ node }) => {
        try {
          await nodes.destroyRun(node, run)
          transactions.nodeEnded(run, node)
          log.info('run.destroyed', { run: runId(run), node })
        } catch (error) {
          // Its leases stay: nobody may have its addresses before the node has confirmed.
          log.warn('run.quarantined', { run: runId(run), node, text: toVmrmError(error).message })
        }
      }),
    )
  }

  return {
    async round() {
      const open = ledger.inState('preparing', 'committed', 'aborted', 'lost')
      const old = open.filter((run) => now() - run.beganMs > options.minimumAgeMs)
      if (old.length > 0) {
        const states = await slurm.jobStates()
        for (const run of old) {
          const state = states.get(run.job) ?? 'ended'
          if (state !== 'ended' && state !== 'pending') continue
          log.info('run.orphaned', { run: runId(run), job: state })
          transactions.end(run)
        }
      }
      const ending = ledger.inState('ending')
      const names = new Set(ending.map((run) => runId(run) as string))
      for (const name of endingSince.keys()) if (!names.has(name)) endingSince.delete(name)
      const overdue = ending.filter((run) => {
        const since = endingSince.get(runId(run)) ?? now()
        endingSince.set(runId(run), since)
        return now() - since > options.epilogMs
      })
      // All at once: each run that has a share on a node that is dead waits for the call's whole bound.
      await Promise.all(overdue.map(removeFromNodes))
      ledger.forgetEndedBefore(now() - keepEndedMs)
    },
  }
}

// A node tells that it is there and which runs it holds; it is answered what is to become of them. What cannot be done for one
// run keeps no other from its answer: the next hello repeats it.
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import { isBatch, originOf, type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { SlurmCommands } from '../../../slurm/commands.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { NodeDrains } from '../node-drains.ts'
import type { Rebuild } from '../rebuild/rebuild.ts'
import type { Transactions } from '../transaction/transaction.ts'

type Hello = RequestOf<'node-hello'>
type Answer = ReplyOf<'node-hello'>['runs'][number]

/** Whether a run that the ledger does not know is one all the same: of a ledger that was lost. */
type Standing = 'alive' | 'over' | 'unknown'

export interface NodeHelloOptions {
  readonly ledger: Ledger
  readonly transactions: Pick<Transactions, 'nodeEnded' | 'verdict'>
  readonly rebuild: Pick<Rebuild, 'isDone' | 'stranger'>
  readonly slurm: Pick<SlurmCommands, 'jobStates'>
  readonly drains: Pick<NodeDrains, 'lift'>
  /** A node has told that it is there. */
  readonly onHello: (node: string) => void
  readonly log: Log
  readonly now: () => number
}

export function createNodeHello(options: NodeHelloOptions): (hello: Hello) => Promise<ReplyOf<'node-hello'>> {
  const { ledger, transactions, rebuild, drains, log, now } = options
  const orLog = (of: { node: string; run?: string }, work: () => void) => {
    try {
      work()
    } catch (error) {
      log.warn('hello.not-recorded', { ...of, text: toVmrmError(error).message })
    }
  }

  /** What it does not hold any more has ended there. */
  const confirmEnds = ({ node, runs }: Hello) => {
    const held = new Set(runs.map((run) => runId(run) as string))
    for (const run of ledger.inState('ending')) {
      const share = ledger.share(run, node)
      const isLeft = share !== undefined && share !== 'ended'
      if (isLeft && !held.has(runId(run))) orLog({ node, run: runId(run) }, () => transactions.nodeEnded(run, node))
    }
  }

  const answerOf = (run: Run, node: string, standing: Standing): Answer['verdict'] => {
    const state = ledger.find(run)?.state
    if (state === undefined && standing !== 'over') {
      // The ledger was lost, not the job: its VMs must not go for that.
      if (standing === 'alive')
        rebuild
          .stranger(node, run)
          .catch((error: unknown) => log.warn('run.not-told', { run: runId(run), node, text: String(error) }))
      return 'pending'
    }
    // While a job is ending the node's own Epilog removes it, once its tasks are gone.
    if (state === 'ending' && !isBatch(run)) return 'pending'
    return transactions.verdict(run, node).verdict
  }

  return async (hello) => {
    const { node, address, health, runs } = hello
    orLog({ node }, () => ledger.rememberNode(node, address, now()))
    if (health === 'ready') drains.lift(node)
    confirmEnds(hello)
    const standing = await standings(runs, options)
    options.onHello(node)
    return {
      runs: runs.map(({ job, restart }) => {
        const run = { job, restart }
        return { ...run, verdict: answerOf(run, node, standing(run)) }
      }),
    }
  }
}

/** Slurm knows of jobs; of a batch the ledger knows whether it has given the number, and forgotten it since. */
async function standings(
  runs: readonly Run[],
  { ledger, rebuild, slurm, log }: NodeHelloOptions,
): Promise<(run: Run) => Standing> {
  const isStranger = (run: Run) => ledger.find(run) === undefined && !isBatch(run)
  const ask = () =>
    slurm.jobStates().catch((error: unknown) => {
      log.warn('hello.unknown-runs', { text: toVmrmError(error).message })
      return undefined
    })
  const states = runs.some(isStranger) ? await ask() : undefined
  return (run) => {
    const origin = originOf(run)
    if (origin.kind === 'batch') return !rebuild.isDone() || !ledger.hasGiven(origin.batch) ? 'alive' : 'over'
    if (states === undefined) return 'unknown'
    const inSlurm = states.get(run.job) ?? 'ended'
    return inSlurm === 'active' || inSlurm === 'completing' ? 'alive' : 'over'
  }
}

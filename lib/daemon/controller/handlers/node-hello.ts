// A node's hello: what it says of itself is remembered, and it learns what is to become of each run that it holds.
import { isBatch, originOf, type Run } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { SlurmCommands } from '../../../slurm/commands.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Rebuild } from '../rebuild/rebuild.ts'
import type { Transactions } from '../transaction/transaction.ts'

export interface NodeHelloOptions {
  readonly ledger: Ledger
  readonly transactions: Transactions
  readonly rebuild: Pick<Rebuild, 'isDone' | 'stranger'>
  readonly slurm: SlurmCommands
  /** A node has told that it is there. */
  readonly onHello: (node: string) => void
  readonly log: Log
  readonly now: () => number
}

type Hello = RequestOf<'node-hello'>

export function createNodeHello(options: NodeHelloOptions) {
  const { ledger, slurm, onHello, now } = options
  return async (request: Hello): Promise<ReplyOf<'node-hello'>> => {
    const { node, runs } = request
    ledger.rememberNode(node, request.address, now())
    if (request.health === 'ready') resumeIfOurs(node, options)
    confirmEnds(request, options)
    const isStranger = (run: Run) => ledger.find(run) === undefined && !isBatch(run)
    const states = runs.some(isStranger) ? await slurm.jobStates() : undefined
    const isInSlurm = ({ job }: Run) => {
      const state = states?.get(job) ?? 'ended'
      return state === 'active' || state === 'completing'
    }
    onHello(node)
    return {
      runs: runs.map(({ job, restart }) => {
        const run = { job, restart }
        return { ...run, verdict: verdictFor(node, run, { ...options, isInSlurm }) }
      }),
    }
  }
}

function resumeIfOurs(node: string, { ledger, slurm, log }: NodeHelloOptions): void {
  if (!ledger.isDrained(node)) return
  ledger.setDrained(node, 'not-drained')
  slurm.resumeOwnDrain(node).then(
    (outcome) => log.info('node.resumed', { node, outcome }),
    (error: unknown) => {
      ledger.setDrained(node, 'drained')
      log.warn('node.not-resumed', { node, text: String(error) })
    },
  )
}

/** What is ending and not held there any more has ended there. */
function confirmEnds({ node, runs }: Hello, { ledger, transactions }: NodeHelloOptions): void {
  const isHeld = (run: Run) => runs.some((held) => held.job === run.job && held.restart === run.restart)
  for (const run of ledger.inState('ending')) {
    const share = ledger.share(run, node)
    if (share !== undefined && share !== 'ended' && !isHeld(run)) transactions.nodeEnded(run, node)
  }
}

function verdictFor(node: string, run: Run, options: NodeHelloOptions & { isInSlurm: (run: Run) => boolean }) {
  const { ledger, transactions, rebuild, log } = options
  const state = ledger.find(run)?.state
  if (state === undefined && mayBeAlive(run, options)) {
    // The ledger was lost, not the job: its VMs must not go for that.
    rebuild
      .stranger(node, run)
      .catch((error: unknown) => log.warn('run.not-told', { job: run.job, node, text: String(error) }))
    return 'pending'
  }
  // While a job is ending the node's own Epilog removes it, once its tasks are gone.
  return state === 'ending' && !isBatch(run) ? 'pending' : transactions.verdict(run, node).verdict
}

function mayBeAlive(
  run: Run,
  { ledger, rebuild, isInSlurm }: NodeHelloOptions & { isInSlurm: (run: Run) => boolean },
): boolean {
  const origin = originOf(run)
  // A number that this ledger has given, and does not know any more, is that of a batch that is over.
  return origin.kind === 'batch' ? !rebuild.isDone() || !ledger.hasGiven(origin.batch) : isInSlurm(run)
}

// PrologSlurmctld's question: does this run have VMs? For a job that named no image itself, what was decided at submission
// stands in its AdminComment; then every node must know it before its Prolog, or the run must not start there.
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { type Run, runId } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import { patiently } from '../../protocol/patiently.ts'
import { requestInComment } from '../../slurm/admin-comment.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'
import { expandHostlist } from '../../slurm/hostlist.ts'
import { createSemaphore } from '../semaphore.ts'
import type { NodeCaller } from './node-ports.ts'
import type { JobRequest } from './planning/planner.ts'
import type { Transactions } from './transaction/transaction.ts'

/** `plain`: the job has no image. `again`: it has one, but a node cannot be told: Slurm is to requeue the job. */
export type BeginOutcome = 'begun' | 'plain' | 'again'

const pauseMs = 500
/** Of Slurm, when many plain jobs start together. */
const questionsAtOnce = 8
const questionMs = 50_000

export function createBeginRun(options: {
  transactions: Transactions
  slurm: SlurmCommands
  nodes: NodeCaller
  log: Log
  /** How long a node's daemon may be away, as in its own Prolog. */
  expectMs: number
  now: () => number
}): (request: JobRequest) => Promise<BeginOutcome> {
  const { transactions, slurm, nodes, log, expectMs, now } = options
  const questions = createSemaphore(questionsAtOnce)

  const expect = (node: string, run: Run, script: 'guest' | 'host'): Promise<void> =>
    patiently(() => nodes.expectRun(node, run, script), { patienceMs: expectMs, pauseMs, isAway: () => true, now })

  const expectEverywhere = async (begun: JobRequest): Promise<BeginOutcome> => {
    const names = expandHostlist(begun.nodes)
    const script = begun.request?.script ?? 'guest'
    const answers = await Promise.allSettled(names.map((node) => expect(node, begun, script)))
    const silent = names.filter((_, at) => answers[at]?.status === 'rejected')
    if (silent.length === 0) return 'begun'
    log.warn('run.not-expected', { run: runId(begun), nodes: silent.join(',') })
    await transactions.notExpected(begun, silent)
    // Slurm runs no Epilog on nodes whose Prolog has not begun, so nobody else takes these marks away.
    const told = names.filter((node) => !silent.includes(node))
    await Promise.allSettled(told.map((node) => nodes.destroyRun(node, begun)))
    return 'again'
  }

  return async (request) => {
    if (request.request !== undefined || request.refusal !== undefined) {
      await transactions.begin(request)
      return 'begun'
    }
    const ask = () => slurm.adminComment(request.job)
    const decided = decidedIn(await questions.run(ask, AbortSignal.timeout(questionMs)))
    if (decided === undefined) return 'plain'
    const begun = { ...request, ...decided }
    // The first is in the ledger before a node hears of the run.
    const [, outcome] = await Promise.all([transactions.begin(begun), expectEverywhere(begun)])
    return outcome
  }
}

function decidedIn(comment: string): Pick<JobRequest, 'request' | 'refusal'> | undefined {
  try {
    const request = requestInComment(comment)
    return request === undefined ? undefined : { request }
  } catch (thrown) {
    return { refusal: toVmrmError(thrown).message }
  }
}

// Batches: runs without a job. It owns their begin and end, which for a job are Slurm's; what lies between is the transaction
// of every run. It asks Slurm nothing and tells it nothing.
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { batchRun, isBatch, type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { expandHostlist } from '../../../slurm/hostlist.ts'
import type { Account } from '../../account.ts'
import type { Ledger, RunRecord } from '../ledger/ledger.ts'
import type { BatchRecord } from '../ledger/ledger-batches.ts'
import type { Planner } from '../planning/planner.ts'
import type { Remover } from '../remove-run.ts'
import type { Transactions } from '../transaction/transaction.ts'
import { type CreateBatch, contentOf, wantedBatch } from './batch-request.ts'
import type { BatchPreparer } from './prepare-batch.ts'

export interface Batches {
  /**
   * Durable when it returns; a repetition returns the same batch. Throws what makes it impossible, as far as that can be known
   * before anything is leased, and `batch-exists` for another request of a name that is known.
   */
  create(request: CreateBatch, owner: Account): Promise<{ batch: number; outcome: 'begun' | 'known' }>
  /** Durable when it returns; safe to repeat. Throws `batch-unknown`, and `ledger-rebuilding` while nobody can say that. */
  destroy(which: { batch?: number | undefined; name?: string | undefined }): Promise<{
    batch: number
    state: RunRecord['state']
  }>
  /** It was given up: what the nodes have of it is removed. */
  aborted(run: Run): void
  /** A node has told that it is there. */
  nodeIsThere(node: string): void
}

export function createBatches(options: {
  ledger: Ledger
  transactions: Transactions
  planner: Planner
  preparer: BatchPreparer
  remover: Remover
  /** Rejects with a sentence when nothing can be leased now, numbers may not be given either, and what is not known may be there. */
  mayLease: () => Promise<void>
  /** Nodes whose vmrmd was heard of lately. */
  presentNodes: () => readonly string[]
  log: Log
}): Batches {
  const { ledger, transactions, planner, preparer, remover, log } = options

  const known = (found: BatchRecord | undefined, content: string) => {
    if (found === undefined) return undefined
    if (found.content === content) return { batch: found.batch, outcome: 'known' as const }
    const text = `batch b${found.batch} has the name ${found.name} and was asked for in another way`
    throw new VmrmError('batch-exists', text)
  }

  const candidates = () => {
    const vms = new Map<string, number>()
    for (const { plan } of ledger.inState('preparing', 'committed', 'lost', 'aborted', 'ending'))
      for (const each of plan?.nodes ?? []) vms.set(each.node, (vms.get(each.node) ?? 0) + each.vms.length)
    const present = options.presentNodes().filter((node) => !ledger.isDrained(node))
    return present.map((node) => ({ node, vms: vms.get(node) ?? 0 }))
  }

  const requireKnown = (nodes: readonly string[]) => {
    const known = new Set(ledger.knownNodes())
    const stranger = nodes.find((node) => !known.has(node))
    if (stranger === undefined) return
    throw new VmrmError('request-invalid', `the controller has not heard of a vmrmd on node ${stranger}`)
  }

  /** What fails here is found again: by the deadline, or by the reconciler. */
  const inBackground = (run: Run, work: Promise<unknown>) =>
    void work.catch((error: unknown) =>
      log.error('batch.failed', { run: runId(run), text: toVmrmError(error).message }),
    )

  const end = (run: Run) => {
    transactions.end(run)
    inBackground(run, remover.remove(run))
  }

  return {
    async create(request, owner) {
      const content = contentOf(request, owner)
      const before = known(ledger.batchNamed(request.name), content)
      if (before !== undefined) return before
      await options.mayLease()
      const wanted = wantedBatch(request, owner, candidates())
      requireKnown(expandHostlist(wanted.nodes))
      await planner.plan({ ...wanted, ...batchRun(0) })
      // The same may have come meanwhile.
      const meanwhile = known(ledger.batchNamed(request.name), content)
      if (meanwhile !== undefined) return meanwhile
      const { batch, planned } = transactions.beginBatch(wanted, { name: request.name, content })
      const run = batchRun(batch)
      log.info('batch.begun', { run: runId(run), name: request.name, user: owner.name, nodes: wanted.nodes })
      inBackground(
        run,
        planned.then(() => preparer.prepare(run)),
      )
      return { batch, outcome: 'begun' }
    },
    async destroy({ batch, name }) {
      const numberOf = () => batch ?? ledger.batchNamed(name ?? '')?.batch
      const isKnown = (of: number | undefined) => of !== undefined && ledger.find(batchRun(of)) !== undefined
      // What a lost ledger knew of its nodes may still tell.
      if (!isKnown(numberOf())) await options.mayLease()
      const number = numberOf()
      if (number === undefined) throw new VmrmError('batch-unknown', `there is no batch of the name ${name ?? ''}`)
      const run = batchRun(number)
      if (!isKnown(number) && !ledger.hasGiven(number))
        throw new VmrmError('batch-unknown', `there is no batch b${number}`)
      // One that is over for a day is not in the ledger any more.
      if (ledger.find(run) !== undefined) end(run)
      return { batch: number, state: ledger.find(run)?.state ?? 'ended' }
    },
    aborted: end,
    nodeIsThere(node) {
      for (const run of ledger.inState('preparing'))
        if (isBatch(run) && ledger.share(run, node) === 'planned') preparer.prepareAgain(run, node)
    },
  }
}

// What users are told of runs, their own or, where they are trusted, everybody's; and an administrator's word that a node is gone.
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { batchRun } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { Caller } from '../../../protocol/transport/caller.ts'
import { forgetNode } from '../forget-node.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { NodeTeller } from '../node-ports.ts'
import type { Transactions } from '../transaction/transaction.ts'
import { listedRun } from './listed-run.ts'

export interface RunHandlerOptions {
  readonly ledger: Ledger
  readonly transactions: Transactions
  readonly nodes: Pick<NodeTeller, 'answers'>
  /** root and SlurmUser, who may see everything. */
  readonly trustedUids: readonly number[]
  /** Whether a node has gone and not come back. */
  readonly isLost: (node: string) => boolean
  readonly log: Log
}

const listedRuns = 1000
/** A sealed message may have 380 KiB. */
const listedBytes = 350 * 1024

export function runHandlers(options: RunHandlerOptions) {
  const { ledger, trustedUids } = options
  return {
    'list-runs': async (request: RequestOf<'list-runs'>, caller: Caller): Promise<ReplyOf<'list-runs'>> => {
      const seesAll = trustedUids.includes(caller.uid)
      const number = request.batch === undefined ? request.job : batchRun(request.batch).job
      const runs =
        number === undefined
          ? ledger.recent(listedRuns, seesAll ? 'everybody' : caller.uid)
          : ledger.ofJob(number).filter((run) => seesAll || run.uid === caller.uid)
      const shown = runs.filter((run) => request.all || number !== undefined || run.state !== 'ended')
      const listed = shown.map((run) => listedRun(run, options))
      return { runs: upTo(listedBytes, listed) }
    },
    'forget-node': async ({ node }: RequestOf<'forget-node'>, caller: Caller): Promise<ReplyOf<'forget-node'>> => {
      if (!trustedUids.includes(caller.uid))
        throw new VmrmError('not-permitted', 'only root and SlurmUser may tell of a node that is gone')
      return { runs: [...(await forgetNode(node, options))] }
    },
  }
}

/** As many of the first as fit; a list that is too long for a message would be no list at all. */
function upTo<T>(bytes: number, entries: readonly T[]): T[] {
  let left = bytes
  return entries.filter((entry) => {
    // No XML of it is longer than its JSON with everything escaped that XML might have to.
    left -= Buffer.byteLength(JSON.stringify(entry).replace(/[&<>"\\]/g, '&quot;'))
    return left >= 0
  })
}

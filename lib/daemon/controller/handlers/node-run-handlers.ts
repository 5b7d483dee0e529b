// What nodes ask about their runs and report of them: shares, verdicts, failures, losses, ends.
import type { CallContext } from '../../../protocol/dispatch.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { Caller } from '../../../protocol/transport/caller.ts'
import type { SlurmCommands } from '../../../slurm/commands.ts'
import type { HeldReports } from '../held-reports.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Rebuild } from '../rebuild/rebuild.ts'
import type { Transactions } from '../transaction/transaction.ts'
import type { NodeVerdict } from '../transaction/verdict-of.ts'
import { shareOf } from './share-of.ts'

export interface NodeRunHandlerOptions {
  readonly ledger: Ledger
  readonly transactions: Transactions
  readonly reports: Pick<HeldReports, 'hold'>
  readonly rebuild: Pick<Rebuild, 'isDone'>
  readonly slurm: SlurmCommands
}

export function nodeRunHandlers(options: NodeRunHandlerOptions) {
  return { ...questionHandlers(options), ...reportHandlers(options) }
}

function questionHandlers(options: NodeRunHandlerOptions) {
  const { ledger, transactions, slurm } = options
  return {
    'get-share': async (request: RequestOf<'get-share'>): Promise<ReplyOf<'get-share'>> => {
      const run = ledger.find(request)
      if (run === undefined) return { state: 'unknown' }
      if (run.state !== 'preparing') {
        await transactions.causeTold(run)
        return { state: 'refused', reason: run.reason || 'the job has ended' }
      }
      // It has confirmed that nothing is left there: whoever asks now, the run is over on that node.
      if (ledger.share(run, request.node) === 'ended')
        return { state: 'refused', reason: `the job has ended on node ${request.node}` }
      const share = shareOf(run, request.node)
      if (share !== undefined) return { state: 'share', share }
      if (run.plan === undefined) return { state: 'pending' }
      return { state: 'refused', reason: `the job has no VM on node ${request.node}` }
    },
    'get-verdict': async (request: RequestOf<'get-verdict'>): Promise<ReplyOf<'get-verdict'>> => {
      return verdictFor(request, options)
    },
    'find-ended-jobs': async ({ jobs }: RequestOf<'find-ended-jobs'>): Promise<ReplyOf<'find-ended-jobs'>> => {
      // Slurm forgets jobs some time after their end, so one that it does not know is over.
      const states = await slurm.jobStates()
      return { jobs: jobs.filter(({ job }) => (states.get(job) ?? 'ended') === 'ended') }
    },
  }
}

function reportHandlers(options: NodeRunHandlerOptions) {
  const { ledger, transactions, reports } = options
  return {
    'report-prepared': async (
      request: RequestOf<'report-prepared'>,
      _caller?: Caller,
      context?: Pick<CallContext, 'signal'>,
    ): Promise<ReplyOf<'report-prepared'>> => {
      const isOpen = ledger.find(request)?.state === 'preparing'
      transactions.prepared(request, request.node, request.missing)
      // Who reports again may have missed the decision; to the others it is told by the messenger, as to everybody.
      const told = isOpen ? await reports.hold(request, request.node, context?.signal) : undefined
      return told === undefined ? verdictFor(request, options) : toReply(told)
    },
    'report-failed': async (request: RequestOf<'report-failed'>): Promise<ReplyOf<'report-failed'>> => {
      await transactions.failed(request, request.node, request)
      return {}
    },
    'report-ended': async (request: RequestOf<'report-ended'>): Promise<ReplyOf<'report-ended'>> => {
      const { peakMemoryBytes, cpuTimeNs } = request
      const usage = { peakMemoryBytes: Number(peakMemoryBytes), cpuTimeNs: Number(cpuTimeNs) }
      transactions.nodeEnded(request, request.node, usage)
      return {}
    },
    'report-lost': async (request: RequestOf<'report-lost'>): Promise<ReplyOf<'report-lost'>> => {
      await transactions.lost(request, request)
      return {}
    },
  }
}

async function verdictFor(
  request: RequestOf<'get-verdict'>,
  { ledger, transactions, rebuild }: NodeRunHandlerOptions,
): Promise<ReplyOf<'get-verdict'>> {
  // Nobody knows yet what was decided.
  if (!rebuild.isDone() && ledger.find(request) === undefined) return { verdict: 'pending', reason: '' }
  await transactions.causeTold(request)
  return toReply(transactions.verdict(request, request.node))
}

function toReply({ missing, ...decided }: NodeVerdict): ReplyOf<'get-verdict'> {
  return { ...decided, ...(missing.length === 0 ? {} : { missing: [...missing] }) }
}

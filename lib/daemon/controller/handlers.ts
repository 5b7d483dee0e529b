// What the controller's daemon answers to each message. It translates between messages and the transactions, the ledger
// and the catalogue; it decides nothing itself but who may see what.
import { readFileSync } from 'node:fs'
import type { Catalogue } from '../../config/load.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { chooseImage, chooseStrategy, findImage, mayUse } from '../../image/access.ts'
import { batchRun, isBatch, originOf, type Run } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import type { CallContext } from '../../protocol/dispatch.ts'
import type { ReplyOf, RequestOf } from '../../protocol/messages.ts'
import type { Caller } from '../../protocol/transport/caller.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'
import type { Account } from '../account.ts'
import type { createBeginRun } from './begin-run.ts'
import { forgetNode } from './forget-node.ts'
import type { HeldReports } from './held-reports.ts'
import type { Ledger, RunRecord } from './ledger/ledger.ts'
import { listedRun } from './listed-run.ts'
import type { NodeTeller, Rebuild } from './rebuild/rebuild.ts'
import { shareOf } from './share-of.ts'
import type { Transactions } from './transaction/transaction.ts'
import type { NodeVerdict } from './transaction/verdict-of.ts'

export interface ControllerHandlerOptions {
  readonly ledger: Ledger
  readonly transactions: Transactions
  readonly reports: Pick<HeldReports, 'hold'>
  readonly rebuild: Pick<Rebuild, 'isDone' | 'stranger'>
  readonly nodes: Pick<NodeTeller, 'heldRuns'>
  readonly beginRun: ReturnType<typeof createBeginRun>
  readonly catalogue: Catalogue
  readonly slurm: SlurmCommands
  readonly lookUpAccount: (user: string | number) => Promise<Account>
  /** root and SlurmUser, who may see everything. */
  readonly trustedUids: readonly number[]
  /** A node has told that it is there. */
  readonly onHello: (node: string) => void
  /** Whether a node has gone and not come back. */
  readonly isLost: (node: string) => boolean
  readonly log: Log
  readonly now: () => number
}

const listedRuns = 1000
/** A sealed message may have 380 KiB. */
const listedBytes = 350 * 1024

export function createControllerHandlers(options: ControllerHandlerOptions) {
  return { ...hookHandlers(options), ...nodeHandlers(options), ...userHandlers(options) }
}

function hookHandlers({ transactions, beginRun }: ControllerHandlerOptions) {
  return {
    'run-begin': async (request: RequestOf<'run-begin'>): Promise<ReplyOf<'run-begin'>> => {
      return { outcome: await beginRun(request) }
    },
    'run-end': async (request: RequestOf<'run-end'>): Promise<ReplyOf<'run-end'>> => {
      transactions.end(request)
      return {}
    },
  }
}

function nodeHandlers(options: ControllerHandlerOptions) {
  const { ledger, transactions, reports, rebuild, slurm, log, now } = options
  const toReply = ({ missing, ...decided }: NodeVerdict): ReplyOf<'get-verdict'> => {
    return { ...decided, ...(missing.length === 0 ? {} : { missing: [...missing] }) }
  }
  const verdictFor = async (request: RequestOf<'get-verdict'>): Promise<ReplyOf<'get-verdict'>> => {
    // Nobody knows yet what was decided.
    if (!rebuild.isDone() && ledger.find(request) === undefined) return { verdict: 'pending', reason: '' }
    await transactions.causeTold(request)
    return toReply(transactions.verdict(request, request.node))
  }
  const resumeIfOurs = (node: string) => {
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
    'report-prepared': async (
      request: RequestOf<'report-prepared'>,
      _caller?: Caller,
      context?: Pick<CallContext, 'signal'>,
    ): Promise<ReplyOf<'report-prepared'>> => {
      const isOpen = ledger.find(request)?.state === 'preparing'
      transactions.prepared(request, request.node, request.missing)
      // Who reports again may have missed the decision; to the others it is told by the messenger, as to everybody.
      const told = isOpen ? await reports.hold(request, request.node, context?.signal) : undefined
      return told === undefined ? verdictFor(request) : toReply(told)
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
    'get-verdict': async (request: RequestOf<'get-verdict'>): Promise<ReplyOf<'get-verdict'>> => {
      return verdictFor(request)
    },
    'find-ended-jobs': async ({ jobs }: RequestOf<'find-ended-jobs'>): Promise<ReplyOf<'find-ended-jobs'>> => {
      // Slurm forgets jobs some time after their end, so one that it does not know is over.
      const states = await slurm.jobStates()
      return { jobs: jobs.filter(({ job }) => (states.get(job) ?? 'ended') === 'ended') }
    },
    'node-hello': async (request: RequestOf<'node-hello'>): Promise<ReplyOf<'node-hello'>> => {
      ledger.rememberNode(request.node, request.address, now())
      if (request.health === 'ready') resumeIfOurs(request.node)
      const isHeld = (run: RunRecord) =>
        request.runs.some((held) => held.job === run.job && held.restart === run.restart)
      for (const run of ledger.inState('ending')) {
        const share = ledger.share(run, request.node)
        if (share !== undefined && share !== 'ended' && !isHeld(run)) transactions.nodeEnded(run, request.node)
      }
      const isStranger = (run: Run) => ledger.find(run) === undefined && !isBatch(run)
      const states = request.runs.some(isStranger) ? await slurm.jobStates() : undefined
      const isAlive = (run: Run) => {
        // A number that this ledger has given, and does not know any more, is that of a batch that is over.
        const origin = originOf(run)
        if (origin.kind === 'batch') return !rebuild.isDone() || !ledger.hasGiven(origin.batch)
        const inSlurm = states?.get(run.job) ?? 'ended'
        return inSlurm === 'active' || inSlurm === 'completing'
      }
      options.onHello(request.node)
      return {
        runs: request.runs.map(({ job, restart }) => {
          const state = ledger.find({ job, restart })?.state
          if (state === undefined && isAlive({ job, restart })) {
            // The ledger was lost, not the job: its VMs must not go for that.
            rebuild
              .stranger(request.node, { job, restart })
              .catch((error: unknown) => log.warn('run.not-told', { job, node: request.node, text: String(error) }))
            return { job, restart, verdict: 'pending' as const }
          }
          // While a job is ending the node's own Epilog removes it, once its tasks are gone.
          const verdict =
            state === 'ending' && !isBatch({ job })
              ? 'pending'
              : transactions.verdict({ job, restart }, request.node).verdict
          return { job, restart, verdict }
        }),
      }
    },
  }
}

function userHandlers(options: ControllerHandlerOptions) {
  const { ledger, catalogue, lookUpAccount, trustedUids } = options
  const requesterOf = async (caller: Caller) => {
    const account = await lookUpAccount(caller.uid)
    return { user: account.name, groups: account.groups.map((group) => group.name), account: '' }
  }
  return {
    'check-request': async (
      { request }: RequestOf<'check-request'>,
      caller: Caller,
    ): Promise<ReplyOf<'check-request'>> => {
      const requester = await requesterOf(caller)
      const images = catalogue.images()
      const named = findImage(images, request)
      // Slurm's account of the job is not known at submit; the controller's Prolog checks it.
      const image = named.access.accounts.length > 0 ? named : chooseImage(images, request, requester)
      if (request.perNode > image.limits.maxPerNode) {
        const text = `image ${image.name} allows ${image.limits.maxPerNode} VMs a node; ${request.perNode} were asked for`
        throw new VmrmError('size-over-limit', text, { hint: 'Ask for fewer with --vm-per-node.' })
      }
      chooseStrategy(image, request.strategy, 'all-or-nothing')
      return {}
    },
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
    'list-images': async (_request: RequestOf<'list-images'>, caller: Caller): Promise<ReplyOf<'list-images'>> => {
      const requester = await requesterOf(caller)
      const images = [...catalogue.images().values()].map((image) => ({
        name: image.name,
        revision: image.revision,
        os: image.os.family,
        allowed: mayUse(image, requester),
        memoryLimitMib: image.limits.maxMemoryMib,
        cpuLimit: image.limits.maxCpus,
      }))
      return { images }
    },
    'forget-node': async ({ node }: RequestOf<'forget-node'>, caller: Caller): Promise<ReplyOf<'forget-node'>> => {
      if (!trustedUids.includes(caller.uid))
        throw new VmrmError('not-permitted', 'only root and SlurmUser may tell of a node that is gone')
      return { runs: [...(await forgetNode(node, options))] }
    },
    'show-image': async ({ name }: RequestOf<'show-image'>): Promise<ReplyOf<'show-image'>> => {
      if (!catalogue.images().has(name))
        throw new VmrmError('image-unknown', `there is no image ${name} on this cluster`)
      return { xml: readFileSync(catalogue.fileOf(name), 'utf8') }
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

// What a node's daemon answers to each message: translation only, the runs decide.
import { hostname } from 'node:os'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import { isBatch, originName, type Run } from '../../job/run.ts'
import type { Share } from '../../protocol/messages/share.ts'
import type { ReplyOf, RequestOf } from '../../protocol/messages.ts'
import { asReason } from '../../protocol/reason.ts'
import type { Caller } from '../../protocol/transport/caller.ts'
import { release } from '../release.ts'
import { expectRun, forgetExpected } from './expected-runs.ts'
import type { JournalEntry } from './runs/journal.ts'
import type { NodeRuns } from './runs/node-runs.ts'

const runStateOf = {
  preparing: 'preparing',
  prepared: 'prepared',
  committed: 'committed',
  refused: 'aborted',
  lost: 'lost',
  removing: 'ending',
} as const satisfies Record<JournalEntry['state'], string>

/** Runs as messages list them. */
export function heldRuns(entries: readonly JournalEntry[]) {
  return entries.map(({ job, restart, state }) => ({ job, restart, state: runStateOf[state] }))
}

export interface NodeHandlerOptions {
  readonly runs: NodeRuns
  /** A part of the console log of a VM; the index counts over the whole run. */
  readonly readConsole: (run: JournalEntry, vm: number, offset: number) => Promise<ReplyOf<'get-console'>>
  readonly node: string
  /** Folder of the jobs' markers. */
  readonly markers: string
  readonly health: () => 'ready' | 'fault'
  /** root and SlurmUser, who may see everything. */
  readonly trustedUids: readonly number[]
}

export function createNodeHandlers(options: NodeHandlerOptions) {
  return { ...hookHandlers(options), ...verdictHandlers(options), ...stateHandlers(options) }
}

function hookHandlers({ runs }: NodeHandlerOptions) {
  return {
    'node-prepare': async (request: RequestOf<'node-prepare'>): Promise<ReplyOf<'node-prepare'>> => {
      const { request: wanted, ...body } = request
      const answer = await runs.prepare({ ...body, script: wanted?.script ?? 'guest' })
      // An answer that cannot be sent would be the node's fault, and drain it, whatever a guest has put into the reason.
      return answer.outcome === 'prepared' ? answer : { ...answer, reason: asReason(answer.reason) }
    },
    'node-end': async (request: RequestOf<'node-end'>): Promise<ReplyOf<'node-end'>> => {
      try {
        await runs.remove(request)
        return { outcome: 'removed' }
      } catch (thrown) {
        return { outcome: 'left', reason: asReason(toVmrmError(thrown).message) }
      }
    },
  }
}

/** What the controller has decided and this node does. */
function verdictHandlers({ runs, markers }: NodeHandlerOptions) {
  return {
    verdict: async (request: RequestOf<'verdict'>): Promise<ReplyOf<'verdict'>> => {
      const { verdict, reason = '', missing = [] } = request
      await runs.applyVerdict(request, { verdict, reason, missing })
      const isOver = verdict === 'ended' && runs.ofJob(request.job) === undefined
      if (isOver) await forgetExpected(markers, request)
      return {}
    },
    'prepare-batch': async (request: RequestOf<'prepare-batch'>): Promise<ReplyOf<'prepare-batch'>> => {
      const { name, content, ...run } = request
      runs.prepareUnattended({ ...run, script: 'guest', batch: { name, content } })
      return {}
    },
    'expect-run': async (request: RequestOf<'expect-run'>): Promise<ReplyOf<'expect-run'>> => {
      await expectRun(markers, request, request.script)
      return {}
    },
    'destroy-run': async (request: RequestOf<'destroy-run'>): Promise<ReplyOf<'destroy-run'>> => {
      await runs.remove(request)
      if (runs.ofJob(request.job) === undefined) await forgetExpected(markers, request)
      return {}
    },
  }
}

/** What this node has. */
function stateHandlers({ runs, readConsole, node, health, trustedUids }: NodeHandlerOptions) {
  const entries = () => runs.all().map((run) => run.entry)
  const find = ({ job, restart }: Run) => entries().find((entry) => entry.job === job && entry.restart === restart)
  return {
    'tell-run': async (request: RequestOf<'tell-run'>): Promise<ReplyOf<'tell-run'>> => {
      const entry = find(request)
      return entry?.share === undefined ? {} : { run: toldRun(entry, entry.share) }
    },
    'get-console': async (request: RequestOf<'get-console'>): Promise<ReplyOf<'get-console'>> => {
      const { job, vm, offset } = request
      const entry = find(request)
      if (entry?.share?.vms.some(({ index }) => index === vm) !== true)
        throw new VmrmError(
          'run-unknown',
          `node ${node} has no VM ${vm} of ${isBatch({ job }) ? 'batch' : 'job'} ${originName({ job })}`,
        )
      return readConsole(entry, vm, offset)
    },
    'node-status': async (_request: RequestOf<'node-status'>, caller: Caller): Promise<ReplyOf<'node-status'>> => {
      const shown = entries().filter((entry) => trustedUids.includes(caller.uid) || entry.uid === caller.uid)
      return { node: node === '' ? hostname() : node, release, health: health(), runs: heldRuns(shown) }
    },
  }
}

/** A run as a controller that has lost its ledger needs it. */
function toldRun(entry: JournalEntry, share: Share): NonNullable<ReplyOf<'tell-run'>['run']> {
  const { uid, gid, user, script, state, beganMs, reason, batch, missing } = entry
  const lacks = missing?.map(({ vm, reason: why }) => ({ vm, reason: asReason(why) }))
  return {
    ...{ uid, gid, user, script, share: share.message, state: runStateOf[state] },
    began: new Date(beganMs).toISOString(),
    reason: asReason(reason),
    ...(batch === undefined ? {} : { batch }),
    ...(lacks === undefined ? {} : { missing: lacks }),
  }
}

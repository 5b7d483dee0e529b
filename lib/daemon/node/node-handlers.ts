// What a node's daemon answers to each message: translation only, the runs decide.
import { hostname } from 'node:os'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import { isBatch, originName } from '../../job/run.ts'
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

export function createNodeHandlers(options: {
  runs: NodeRuns
  /** A part of the console log of a VM; the index counts over the whole run. */
  readConsole: (run: JournalEntry, vm: number, offset: number) => Promise<ReplyOf<'get-console'>>
  node: string
  /** Folder of the jobs' markers. */
  markers: string
  health: () => 'ready' | 'fault'
  /** root and SlurmUser, who may see everything. */
  trustedUids: readonly number[]
}) {
  const { runs, readConsole, node, markers, health, trustedUids } = options
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
    'tell-run': async ({ job, restart }: RequestOf<'tell-run'>): Promise<ReplyOf<'tell-run'>> => {
      const entry = runs.all().find((run) => run.entry.job === job && run.entry.restart === restart)?.entry
      if (entry?.share === undefined) return {}
      const { uid, gid, user, script, state, beganMs, reason, share, batch, missing } = entry
      const began = new Date(beganMs).toISOString()
      const known = {
        uid,
        gid,
        user,
        script,
        began,
        share: share.message,
        state: runStateOf[state],
        reason: asReason(reason),
        ...(batch === undefined ? {} : { batch }),
        ...(missing === undefined
          ? {}
          : { missing: missing.map(({ vm, reason: why }) => ({ vm, reason: asReason(why) })) }),
      }
      return { run: known }
    },
    'get-console': async ({ job, restart, vm, offset }: RequestOf<'get-console'>): Promise<ReplyOf<'get-console'>> => {
      const entry = runs.all().find((run) => run.entry.job === job && run.entry.restart === restart)?.entry
      if (entry?.share?.vms.some(({ index }) => index === vm) !== true)
        throw new VmrmError(
          'run-unknown',
          `node ${node} has no VM ${vm} of ${isBatch({ job }) ? 'batch' : 'job'} ${originName({ job })}`,
        )
      return readConsole(entry, vm, offset)
    },
    'node-status': async (_request: RequestOf<'node-status'>, caller: Caller): Promise<ReplyOf<'node-status'>> => {
      const entries = runs.all().map((run) => run.entry)
      const shown = entries.filter((entry) => trustedUids.includes(caller.uid) || entry.uid === caller.uid)
      return { node: node === '' ? hostname() : node, release, health: health(), runs: heldRuns(shown) }
    },
  }
}

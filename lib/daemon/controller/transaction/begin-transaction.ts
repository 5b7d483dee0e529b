// The begin of a run on the controller: recorded, planned, leased; or refused, or sent back to wait. It never decides that a
// run goes on.
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { batchRun, type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { reached, reachedAtOnce } from '../../steps.ts'
import type { Ledger, NewRun } from '../ledger/ledger.ts'
import type { BatchRecord } from '../ledger/ledger-batches.ts'
import type { BatchRequest, BeginRequest, JobRequest, Planner } from '../planning/planner.ts'
import { MustWait, type WaitingRoom } from '../waiting-room.ts'
import { abort } from './decisions.ts'
import type { Unwritten } from './unwritten.ts'

export interface Begin {
  /** PrologSlurmctld: plans and leases. Never throws for a user's mistake: that becomes an `abort` verdict. Safe to repeat. */
  begin(request: JobRequest): Promise<void>
  /** The same of a batch, which gets its number: it is in the ledger when this returns. `planned` rejects where a refusal cannot be written now. */
  beginBatch(
    request: Omit<BatchRequest, keyof Run>,
    asked: { name: string; content: string },
  ): BatchRecord & { readonly planned: Promise<void> }
}

export function createBegin(options: {
  ledger: Ledger
  planner: Planner
  waitingRoom: Pick<WaitingRoom, 'enter' | 'leave'>
  unwritten: Pick<Unwritten, 'write'>
  log: Log
  prepareMs: number
  /** Rejects with the sentence the user reads when nothing can be leased now. */
  mayLease: () => Promise<void>
  /** Runs of the same job from before are over. */
  endOlder: (run: Run) => void
  /** Resolves when the cause is in AdminComment, or that was given up. */
  commentInTime: (run: Run, reason: string) => Promise<void>
  /** Decides against the run, unless something was decided already. Rejects if that cannot be written now: then it is later. */
  refuse: (run: Run, cause: { code: string; reason: string }) => Promise<void>
  now: () => number
}): Begin {
  const { ledger, planner, waitingRoom, log, prepareMs, now } = options

  const begin = async (request: JobRequest) => {
    if (ledger.find(request) !== undefined) return
    options.endOlder(request)
    ledger.add(newRun(request, request, prepareMs))
    await planAndLease(request)
  }

  const newRun = (run: Run, request: Omit<BeginRequest, keyof Run>, withinMs: number): NewRun => {
    const { job, restart } = run
    const { uid, gid, user, account } = request
    const beganMs = now()
    const requested = { image: request.request?.image ?? '', script: request.request?.script ?? 'guest' }
    return { job, restart, uid, gid, user, account, ...requested, beganMs, deadlineMs: beganMs + withinMs }
  }

  const beginBatch: Begin['beginBatch'] = (request, { name, content }) => {
    const withinMs = Math.min(prepareMs, request.withinMs ?? prepareMs)
    const batch = ledger.addBatch(name, content, (run) => ledger.add(newRun(run, request, withinMs)))
    reachedAtOnce('batch.recorded', runId(batchRun(batch.batch)))
    return { ...batch, planned: planAndLease({ ...request, ...batchRun(batch.batch) }) }
  }

  const planAndLease = async (request: BeginRequest) => {
    const { user } = request
    const beganMs = now()
    await reached('begin.recorded', runId(request))
    try {
      await options.mayLease()
      const plan = await planner.plan(request)
      await reached('begin.planned', runId(request))
      const leased = ledger.setPlan(request, (leases) => {
        // The job may have been cancelled while Slurm was asked; its run must not lease anything then.
        if (ledger.find(request)?.state !== 'preparing')
          throw new VmrmError('run-ended', 'the job ended while its VMs were planned')
        return plan(leases)
      })
      await reached('begin.leased', runId(request))
      log.info('run.planned', {
        run: runId(request),
        user,
        image: leased.image,
        nodes: leased.nodes.length,
        ms: now() - beganMs,
      })
      waitingRoom.leave(request.job)
    } catch (thrown) {
      const error = toVmrmError(thrown)
      if (error instanceof MustWait && 'selector' in request && (await waits(request, error))) return
      log.warn('run.refused', { run: runId(request), user, code: error.code, reason: error.message })
      await options.refuse(request, { code: error.code, reason: reasonOf(error) })
      waitingRoom.leave(request.job)
    }
  }

  /** Slurm is told last: its requeue ends this run, and a comment comes too late then. */
  const waits = async (request: JobRequest, error: MustWait): Promise<boolean> => {
    const reason = `${error.message}; the job waits in the queue until there is room`
    await options.commentInTime(request, reason)
    if (ledger.find(request)?.state !== 'preparing') return true
    if ((await waitingRoom.enter(request, request.selector, error.wanted)) === 'refused') return false
    const write = async () => void ledger.move(request, abort, { code: error.code, reason })
    await options.unwritten.write({ run: request, what: 'waits', write })
    return true
  }

  return { begin, beginBatch }
}

function reasonOf(error: VmrmError): string {
  return error.hint === '' ? error.message : `${error.message}. ${error.hint}`
}

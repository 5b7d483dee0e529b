// Jobs that cannot have their leases now: they go back into Slurm's queue, held, and are released when there is room. It
// leases nothing itself, and what Slurm refuses to requeue it leaves to its caller.
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Image } from '../../config/image-schema.ts'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import { type Run, runId } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'
import type { Ledger } from './ledger/ledger.ts'
import { hasRoom, leasePools } from './planning/lease-pools.ts'

/** What a job waits for. Without an image: that anything can be leased at all. */
export interface Wanted {
  readonly image: string
  readonly vms: number
}

export interface WaitingJob extends Wanted {
  readonly job: number
  /** How scontrol names this job alone. */
  readonly selector: string
  /** `released`: Slurm may start it, and what it wants is kept in mind. */
  readonly state: 'held' | 'released'
}

/** There is no room now; there will be. The message is that of the cause. */
export class MustWait extends VmrmError {
  readonly wanted: Wanted

  constructor(cause: VmrmError, wanted: Wanted) {
    super(cause.code, cause.message, { cause })
    this.wanted = wanted
  }
}

export interface WaitingRoom {
  /** Requeues the job and holds it. Durable before Slurm is told; `refused` if Slurm does not requeue this job. */
  enter(run: Run, selector: string, wanted: Wanted): Promise<'waits' | 'refused'>
  /** The job has what it waited for, or will not have it. */
  leave(job: number): void
  /** Releases the jobs that have room now, in the order of their coming, and forgets those that are over. */
  round(): Promise<void>
}

export function createWaitingRoom(options: {
  ledger: Ledger
  slurm: Pick<SlurmCommands, 'jobStates' | 'requeueHold' | 'release'>
  images: () => ReadonlyMap<string, Image>
  config: DaemonConfig
  mayLease: () => boolean
  /** Slurm is asked when leases were released, and otherwise this often. */
  lookEveryMs: number
  log: Log
  now: () => number
}): WaitingRoom {
  const { ledger, slurm, images, config, log, now } = options
  let looked = { releases: -1, atMs: 0 }

  const fits = (waiting: WaitingJob, promised: readonly WaitingJob[]): boolean => {
    const image = images().get(waiting.image)
    // Without an entry it can only fail, with a sentence.
    if (waiting.image === '' || image === undefined) return true
    const all = [...promised, waiting]
    const vms = all.reduce((sum, job) => sum + job.vms, 0)
    try {
      return hasRoom(ledger, leasePools(image, config), { vms, runs: all.length })
    } catch {
      return true
    }
  }

  const release = async (waiting: WaitingJob): Promise<void> => {
    try {
      await slurm.release(waiting.selector)
      ledger.wait({ ...waiting, state: 'released' }, now())
      log.info('job.released', { job: waiting.job })
    } catch (error) {
      log.warn('job.not-released', { job: waiting.job, text: toVmrmError(error).message })
    }
  }

  /** What cannot be written is found again in the next round. */
  const forget = ({ job }: WaitingJob) => {
    try {
      ledger.leaveWaiting(job)
    } catch (error) {
      log.warn('job.not-forgotten', { job, text: toVmrmError(error).message })
    }
  }

  return {
    async enter(run, selector, wanted) {
      ledger.wait({ ...wanted, job: run.job, selector, state: 'held' }, now())
      try {
        await slurm.requeueHold(selector)
        log.info('run.waits', { run: runId(run), image: wanted.image, vms: wanted.vms })
        return 'waits'
      } catch (error) {
        ledger.leaveWaiting(run.job)
        log.info('run.cannot-wait', { run: runId(run), text: toVmrmError(error).message })
        return 'refused'
      }
    },
    leave: (job) => ledger.leaveWaiting(job),
    async round() {
      const waiting = ledger.waiting()
      if (waiting.length === 0 || !options.mayLease()) return
      const releases = ledger.releases()
      if (releases === looked.releases && now() - looked.atMs < options.lookEveryMs) return
      looked = { releases, atMs: now() }
      const states = await slurm.jobStates()
      const promised: WaitingJob[] = []
      for (const each of waiting) {
        const state = states.get(each.job) ?? 'ended'
        if (state === 'ended') forget(each)
        else if (each.state === 'released') promised.push(each)
        else if (state === 'pending' && fits(each, promised)) {
          // What it wants is kept for it, whether Slurm lets it go now or the next time.
          promised.push(each)
          await release(each)
        }
      }
    },
  }
}

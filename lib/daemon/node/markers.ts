// Markers of jobs (/run/vmrm/jobs/JOBID) that nobody removed, as when an Epilog was killed. vmrm-gate writes and removes
// them; this removes only those of jobs that Slurm says are over, and none in doubt: without its marker a job's task could
// run on the host.
import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../../log.ts'
import { allOrFirstError } from '../all-or-first-error.ts'

export interface SweepOptions {
  readonly folder: string
  /** Younger ones are left alone: the job's Prolog may have written them just now. */
  readonly minimumAgeMs: number
  /** Whether this node has a run of the job: then its own Epilog comes. */
  readonly hasJob: (job: number) => boolean
  /** Those of the jobs that are over on every node. May reject: then nothing is removed. */
  readonly endedJobs: (jobs: readonly number[]) => Promise<readonly number[]>
  /** When each job was asked for last: a job may keep its marker for days with the off switch set. Kept by the caller. */
  readonly asked: Map<number, number>
  readonly askAgainMs: number
  readonly now: () => number
  readonly log: Log
}

/** One round. */
export async function sweepMarkers(options: SweepOptions): Promise<void> {
  const { folder, minimumAgeMs, hasJob, endedJobs, asked: lastAsked, askAgainMs, now, log } = options
  const isOld = async (job: number) => {
    const status = await stat(join(folder, String(job))).catch(() => undefined) // removed by the gate meanwhile
    return status !== undefined && now() - status.mtimeMs > minimumAgeMs
  }
  const names = await readdir(folder)
  const jobs = names.filter((name) => /^[1-9]\d{0,9}$/.test(name)).map(Number)
  for (const job of lastAsked.keys()) if (!jobs.includes(job) || hasJob(job)) lastAsked.delete(job)
  const isDue = (job: number) => now() - (lastAsked.get(job) ?? Number.NEGATIVE_INFINITY) >= askAgainMs
  const asked: number[] = []
  for (const job of jobs) if (!hasJob(job) && isDue(job) && (await isOld(job))) asked.push(job)
  if (asked.length === 0) return
  const ended = await endedJobs(asked)
  for (const job of asked) lastAsked.set(job, now())
  await allOrFirstError(
    ended.map(async (job) => {
      // A job that is over can be requeued: its new Prolog writes the marker again.
      if (!asked.includes(job) || hasJob(job) || !(await isOld(job))) return
      log.warn('stray.marker', { job })
      // The gate may have been faster.
      await rm(join(folder, String(job)), { force: true })
    }),
  )
}

import { readdirSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { sweepMarkers } from '../../../lib/daemon/node/markers.ts'
import { silentLog } from '../../../lib/log.ts'

const hourMs = 3_600_000

t.test('only old markers of jobs that are over and have no run here are removed', async (t) => {
  const folder = t.testdir({})
  const old = ['1', '2', '3', '4', 'x5', '.6', '07']
  for (const name of [...old, '8']) writeFileSync(join(folder, name), 'script=guest\n')
  for (const name of old) utimesSync(join(folder, name), new Date(0), new Date(0))
  const asked: number[][] = []
  const clock = { ms: Date.now() }
  const options = {
    folder,
    minimumAgeMs: hourMs,
    hasJob: (job: number) => job === 2,
    asked: new Map<number, number>(),
    askAgainMs: hourMs,
    now: () => clock.ms,
    log: silentLog,
  }
  const endedJobs = async (jobs: readonly number[]) => {
    asked.push([...jobs])
    // Job 3 begins again between the question and the removal; 99 was never asked for.
    writeFileSync(join(folder, '3'), 'script=guest\n')
    return [1, 3, 99]
  }
  await sweepMarkers({ ...options, endedJobs })
  t.same(asked, [[1, 3, 4]])
  t.same(readdirSync(folder).sort(), ['.6', '07', '2', '3', '4', '8', 'x5'])

  await sweepMarkers({ ...options, endedJobs })
  t.equal(asked.length, 1, 'one that goes on is not asked for again so soon')
  clock.ms += hourMs
  await t.rejects(sweepMarkers({ ...options, endedJobs: async () => Promise.reject(new Error('Slurm is down')) }))
  t.equal(readdirSync(folder).length, 7, 'in doubt nothing is removed')
})

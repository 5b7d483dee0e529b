// A range of hostnames that is full: jobs wait in the queue without draining or looping, or fail, as the image says; they
// start when there is room.
import t from 'tap'
import { jobFields, nodeStates } from '../support/batch.ts'
import { withJobs } from '../support/job-cluster.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'

const two = [/<hostnames range="[^"]*"/, '<hostnames range="few-[1-2]"'] as const
const images = [
  { name: 'few', changes: [two] },
  {
    name: 'few-fail',
    changes: [two, [/max-per-node="16"( on-full="wait")?/, 'max-per-node="16" on-full="fail"']] as const,
  },
]
const mem = '--mem=600'

t.test('jobs wait for a full range, or fail, as the image says', (t) =>
  withJobs(t, 'full-range', async (jobs) => {
    const { cluster } = jobs
    await withImages(cluster, images, async () => {
      const holds = 'hostname; while ! test -e stop; do sleep 0.2; done'
      const holder = await jobs.submit(`#!/bin/sh\n${holds}`, {
        arguments: ['--vm-image=few', '--vm-per-node=2', '-n2', mem],
      })
      await jobs.awaitOutput(holder, 'few-')

      const waiting = await jobs.submit('#!/bin/sh\nhostname; echo restart $SLURM_RESTART_COUNT', {
        arguments: ['--vm-image=few', mem],
      })
      const held = await until('the job is held in the queue', async () => {
        const fields = await jobFields(cluster, waiting)
        return fields.get('JobState') === 'PENDING' && fields.get('Priority') === '0' ? fields : undefined
      })
      t.match(held.get('AdminComment'), /^vmrm: image few: hostnames few-\[1-2\]: 1 wanted, 0 of 2 free; the job waits/)
      t.match(held.get('Reason'), /held/i)

      const failing: [string, string[], RegExp][] = [
        [
          'an image says so',
          ['--vm-image=few-fail'],
          /^vmrm: image few-fail: hostnames few-\[1-2\]: 1 wanted, 0 of 2 free/,
        ],
        ['Slurm may not requeue it', ['--vm-image=few', '--no-requeue'], /^vmrm: image few: .* 0 of 2 free/],
        [
          'more are wanted than there are',
          ['--vm-image=few', '--vm-per-node=3', '-n3', '--mem=900'],
          /^vmrm: image few: hostnames few-\[1-2\]: 3 wanted, there are 2 in all/,
        ],
      ]
      const failed = await Promise.all(
        failing.map(async ([, options]) => jobs.run('#!/bin/sh\nhostname', { arguments: [mem, ...options] })),
      )
      failing.forEach(([what, , sentence], at) => {
        t.match(failed[at], { fields: { JobState: 'FAILED' }, output: sentence }, what)
      })
      const typed = await jobs.alice(['srun', '--vm-image=few', mem, 'hostname'])
      t.not(typed.exitCode, 0)
      t.match(typed.stderr, /image few: .* 1 wanted, 0 of 2 free/, 'srun cannot be requeued')
      t.match((await jobFields(cluster, waiting)).get('Restarts'), '1', 'the first one was not tried again')
      t.same(
        (await nodeStates(cluster)).filter((line) => /drain|down/.test(line)),
        [],
        'no node is drained',
      )

      await jobs.alice(['touch', 'stop'])
      t.equal((await jobs.ended(holder)).fields.JobState, 'COMPLETED')
      const { fields, output } = await jobs.ended(waiting)
      t.equal(fields.JobState, 'COMPLETED')
      t.match(output, /^few-[12]\nrestart 1\n$/)
      await jobs.alice(['rm', 'stop'])
    })
  }),
)

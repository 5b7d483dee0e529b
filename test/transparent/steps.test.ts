// Steps of an allocation: their options, streams, environment and ends are in VMs what they are on bare nodes, and so is their account.
import { writeFileSync } from 'node:fs'
import t from 'tap'
import { withJobs } from '../support/job-cluster.ts'
import { sameLines } from '../support/same-lines.ts'
import { endings } from './lines/endings.ts'
import { launching } from './lines/launching.ts'
import { streams } from './lines/streams.ts'
import { surroundings } from './lines/surroundings.ts'

t.setTimeout(600_000)

const shape = [
  '--nodes=2',
  '--nodelist=n1,n2',
  '--ntasks-per-node=2',
  '--cpus-per-task=1',
  '--mem=1200',
  '--gres=gpu:2,fake:2',
]

t.test('steps in VMs are as steps on the nodes:', (t) =>
  withJobs(
    t,
    'transparent-steps',
    async (jobs) => {
      writeFileSync(jobs.home('not-executable'), '#!/bin/sh\n', { mode: 0o644 })
      writeFileSync(jobs.home('no-format'), '\0\0\0\0', { mode: 0o755 })
      const lines = [...endings, ...streams, ...launching, ...surroundings]
      await sameLines(t, jobs, { program: 'salloc', lines, arguments: shape, vm: ['--vm-image=tiny'] })
    },
    ['--accounting'],
  ),
)

// Steps of an allocation: their options, streams, environment and ends are in VMs what they are on bare nodes, and so is their account.
import t from 'tap'
import { withJobs } from '../support/job-cluster.ts'
import { sameLines } from '../support/same-lines.ts'
import { endings } from './lines/endings.ts'
import { launching } from './lines/launching.ts'
import { outsideOnly, streams } from './lines/streams.ts'
import { surroundings } from './lines/surroundings.ts'
import { placeBadPrograms, setTaskScripts } from './task-scripts.ts'
import { twoNodes } from './two-nodes.ts'

t.setTimeout(600_000)

t.test('steps in VMs are as steps on the nodes:', (t) =>
  withJobs(
    t,
    'transparent-steps',
    async (jobs) => {
      placeBadPrograms(jobs)
      await setTaskScripts(jobs)
      const lines = [...endings, ...streams, ...outsideOnly, ...launching, ...surroundings]
      await sameLines(t, jobs, { program: 'salloc', lines, arguments: twoNodes, vm: ['--vm-image=tiny'] })
    },
    ['--accounting'],
  ),
)

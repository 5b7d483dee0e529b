// Batch jobs: what sbatch's options make of them, how they end and their account are in VMs what they are on bare nodes.
import t from 'tap'
import { withJobs } from '../support/job-cluster.ts'
import { sameJobs } from '../support/same-jobs.ts'
import { ends } from './jobs/ends.ts'
import { options } from './jobs/options.ts'

t.setTimeout(600_000)

t.test('a batch job in a VM is as one on a node:', (t) =>
  withJobs(t, 'transparent-jobs', (jobs) => sameJobs(t, jobs, [...ends, ...options], ['--vm-image=tiny']), [
    '--accounting',
  ]),
)

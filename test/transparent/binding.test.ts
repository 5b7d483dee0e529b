// A site that binds tasks to CPUs: a task in a VM has as many as on a bare node, and shares them with the same tasks.
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import t from 'tap'
import { withJobs } from '../support/job-cluster.ts'
import { sameLines } from '../support/same-lines.ts'
import { binding, cpusScript } from './lines/binding.ts'

t.setTimeout(600_000)

/** Slurm binds to CPUs of the node, which must be there. */
const skip = availableParallelism() < 2 ? 'this machine has only one CPU' : false

t.test('tasks in VMs are bound as tasks on the nodes:', { skip }, (t) =>
  withJobs(
    t,
    'transparent-binding',
    async (jobs) => {
      writeFileSync(jobs.home('cpus'), cpusScript)
      // One after the other, since each takes the whole node.
      const shape = ['--nodelist=n1', '--nodes=1', '--ntasks=2', '--mem=600']
      await sameLines(t, jobs, { program: 'sbatch', lines: binding, arguments: shape, vm: ['--vm-image=tiny'] })
    },
    ['--accounting', '--bind-cpus', '--cpus', '2'],
  ),
)

// Slurm's commands from a batch script that itself runs in a VM: what they do on bare nodes, they do there.
import t from 'tap'
import { withJobs } from '../support/job-cluster.ts'
import { sameLines } from '../support/same-lines.ts'
import { commands } from './lines/commands.ts'
import { twoNodes } from './two-nodes.ts'

t.setTimeout(600_000)

t.test('commands in a batch script in a VM are as in one on a node:', (t) =>
  withJobs(
    t,
    'transparent-commands',
    async (jobs) => {
      await sameLines(t, jobs, { program: 'sbatch', lines: commands, arguments: twoNodes, vm: ['--vm-image=tiny'] })
    },
    ['--accounting'],
  ),
)

// Slurm's commands from a batch script that itself runs in a VM: what they do on bare nodes, they do there, and so does the site's TaskProlog.
// The job has its VMs by its partition's default, which no other file here tries.
import { readFileSync } from 'node:fs'
import t from 'tap'
import { withDefaults } from '../support/default-images.ts'
import { withJobs } from '../support/job-cluster.ts'
import { type Line, sameLines } from '../support/same-lines.ts'
import { commands } from './lines/commands.ts'
import { endings } from './lines/endings.ts'
import { streams } from './lines/streams.ts'
import { siteScripts } from './lines/surroundings.ts'
import { placeBadPrograms, setTaskScripts } from './task-scripts.ts'
import { twoNodes } from './two-nodes.ts'

t.setTimeout(600_000)

/** What the TaskProlog of the script's own task has set and unset. */
const siteScriptsOfTheScript: Line = {
  name: "what the site's prolog left of the script's environment",
  line: 'echo "$FROM_SITE|$(printenv OF_SITE || echo unset)"',
  code: 0,
  says: '0 of alice|unset',
}

/** srun's remarks where the step before is still being cleaned up: chance. */
const waitedForAStep = /^srun: (Job \d+ step creation|Step created) .*\n/gm

t.test('commands in a batch script that has a VM by default are as in one on a node:', (t) =>
  withJobs(
    t,
    'transparent-commands',
    async (jobs) => {
      placeBadPrograms(jobs)
      await setTaskScripts(jobs)
      const lines = [siteScriptsOfTheScript, siteScripts, ...commands, ...endings, ...streams]
      const environment = { OF_SITE: '1', EPILOG_SAYS: 'HERE/epilog' }
      // It names a partition more and no image. In `main`, which is the one that it gets, it is like the other.
      const vm = ['--partition=main,low']
      const play = { program: 'sbatch', lines, arguments: twoNodes, environment, vm, lineSeconds: 150 } as const
      await withDefaults(jobs.cluster, '<defaults><partition name="low" image="tiny"/></defaults>', () =>
        sameLines(t, jobs, play),
      )
      for (const how of ['plain', 'vm']) {
        t.equal(
          readFileSync(jobs.home(`${how}/batch.out`), 'utf8').replaceAll(waitedForAStep, ''),
          'the site greets\n',
          `${how}: printed for the script`,
        )
        t.equal(
          readFileSync(jobs.home(`${how}/epilog`), 'utf8'),
          'after task 0, as alice\n',
          `${how}: after the script`,
        )
      }
    },
    ['--accounting'],
  ),
)

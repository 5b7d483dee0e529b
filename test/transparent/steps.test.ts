// Steps of an allocation: their options, streams, environment and ends are in VMs what they are on bare nodes, and so is their account.
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { sameLines } from '../support/same-lines.ts'
import { endings } from './lines/endings.ts'
import { launching } from './lines/launching.ts'
import { streams } from './lines/streams.ts'
import { surroundings } from './lines/surroundings.ts'
import { twoNodes } from './two-nodes.ts'

t.setTimeout(600_000)

/** Of the site: heeds what the lines that are about it ask for, and leaves other tasks alone. */
const taskProlog = `#!/bin/sh
[ -n "$OF_SITE" ] || exit 0
echo "export FROM_SITE=$SLURM_PROCID of $(id -un)"
echo unset OF_SITE
echo print the site greets
`
const taskEpilog = `#!/bin/sh
[ -z "$EPILOG_SAYS" ] || echo "after task $SLURM_PROCID, as $(id -un)" >"$EPILOG_SAYS"
`

async function setTaskScripts({ cluster }: Jobs): Promise<void> {
  const folder = join(cluster.layout.folder, 'etc-slurm')
  writeFileSync(join(folder, 'task-prolog'), taskProlog, { mode: 0o755 })
  writeFileSync(join(folder, 'task-epilog'), taskEpilog, { mode: 0o755 })
  const lines = 'TaskProlog=/etc/slurm/task-prolog\nTaskEpilog=/etc/slurm/task-epilog\n'
  appendFileSync(join(folder, 'slurm.conf'), lines)
  await cluster.run(['scontrol', 'reconfigure'])
  await cluster.waitUntilIdle(60_000)
}

t.test('steps in VMs are as steps on the nodes:', (t) =>
  withJobs(
    t,
    'transparent-steps',
    async (jobs) => {
      writeFileSync(jobs.home('not-executable'), '#!/bin/sh\n', { mode: 0o644 })
      writeFileSync(jobs.home('no-format'), '\0\0\0\0', { mode: 0o755 })
      await setTaskScripts(jobs)
      const lines = [...endings, ...streams, ...launching, ...surroundings]
      await sameLines(t, jobs, { program: 'salloc', lines, arguments: twoNodes, vm: ['--vm-image=tiny'] })
    },
    ['--accounting'],
  ),
)

// TaskProlog and TaskEpilog of a site. They heed what a play asks for in the environment, and leave other tasks alone.
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Jobs } from '../support/job-cluster.ts'

const taskProlog = `#!/bin/sh
[ -n "$OF_SITE" ] || exit 0
echo "export FROM_SITE=$SLURM_PROCID of $(id -un)"
echo unset OF_SITE
echo print the site greets
`
const taskEpilog = `#!/bin/sh
[ -z "$EPILOG_SAYS" ] || echo "after task $SLURM_PROCID, as $(id -un)" >"$EPILOG_SAYS"
`

export async function setTaskScripts({ cluster }: Jobs): Promise<void> {
  const folder = join(cluster.layout.folder, 'etc-slurm')
  writeFileSync(join(folder, 'task-prolog'), taskProlog, { mode: 0o755 })
  writeFileSync(join(folder, 'task-epilog'), taskEpilog, { mode: 0o755 })
  const lines = 'TaskProlog=/etc/slurm/task-prolog\nTaskEpilog=/etc/slurm/task-epilog\n'
  appendFileSync(join(folder, 'slurm.conf'), lines)
  await cluster.run(['scontrol', 'reconfigure'])
  await cluster.waitUntilIdle(60_000)
}

/** Programs in alice's home that cannot be run, for the lines about ends. */
export function placeBadPrograms(jobs: Jobs): void {
  writeFileSync(jobs.home('not-executable'), '#!/bin/sh\n', { mode: 0o644 })
  writeFileSync(jobs.home('no-format'), '\0\0\0\0', { mode: 0o755 })
}

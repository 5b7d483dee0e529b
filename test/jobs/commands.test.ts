// Slurm's commands inside a VM where a bare node has nothing to compare with: files that only a VM has, who may call, a restart of vmrmd, and ends.
import { appendFileSync, existsSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { until } from '../support/until.ts'

t.setTimeout(600_000)

const one = 'srun -n1 -N1 -w n1 --mem=50 --overlap'
/** Found in a command line on the host and nowhere else. */
const marker = String(100_000 + process.pid)

const script = `#!/bin/bash
title() { echo; echo "[$1]"; }
until_there() { until [ -e ~/"$1" ]; do sleep 0.1; done; }
cd /tmp && mkdir own && cd own
title here; srun -n1 -N1 pwd
title sbcast; echo bytes >source; chmod 640 source; sbcast source /tmp/own.copy; echo $?; srun -D /tmp -N2 -n2 sh -c 'echo $(cat /tmp/own.copy) $(stat -c %a /tmp/own.copy)'
title relative; (cd /tmp && sbcast own/source relative) 2>&1; echo $?; ${one} cat /tmp/relative
title exists; sbcast source /tmp/own.copy >/dev/null 2>&1; echo $?
title bcast; printf '#!/bin/sh\\necho copied $0\\n' >program; chmod +x program; srun -D /tmp -N2 -n2 --bcast=/tmp/copied $PWD/program
title nobody; ssh n2 squeue 2>&1; echo $?
title restart; cd /tmp; srun -N2 -n2 sh -c 'touch ~/up.$SLURM_PROCID; until grep -q restarted ~/gate; do sleep 0.1; done; echo went on; exit 4' 2>/dev/null; echo $?
title outer
${one} sh -c '${one} sh -c "touch ~/inner; exec sleep ${marker}"' 2>/dev/null & outer=$!
until_there inner
step=$(squeue -h -s -j $SLURM_JOB_ID -o %i | grep -E '[.][0-9]+$' | sort -t. -k2n | tail -n 2 | head -n 1)
scancel $step; wait $outer; echo $?; touch ~/ended
until grep -q looked ~/gate; do sleep 0.1; done
`

function partsOf(output: string): Record<string, string> {
  const parts = output.split(/^\[/m).map((part): [string, string] => {
    const [title = '', ...lines] = part.split('\n')
    return [title.replace(']', ''), lines.join('\n').trim()]
  })
  return Object.fromEntries(parts)
}

/** srun of the inner step, on the host. */
async function innerSruns(jobs: Jobs): Promise<string> {
  const found = await jobs.cluster.run(['pgrep', '--full', `[s]run.*${marker}`], { node: 'n1' })
  return found.stdout.trim()
}

async function inOneJob(t: Test, jobs: Jobs): Promise<void> {
  // Read anew at each open, which the absence of a file is not on NFS.
  await jobs.alice(['touch', 'gate'])
  const id = await jobs.submit(script, { arguments: ['--vm-image=tiny', '-N2', '--ntasks-per-node=2', '--mem=900'] })
  const there = (name: string) => until(name, () => existsSync(jobs.home(name)), 180_000)
  await Promise.all([there('up.0'), there('up.1')])
  for (const node of ['n1', 'n2']) await jobs.cluster.daemon('restart', node, 'vmrmd')
  appendFileSync(jobs.home('gate'), 'restarted\n')
  await there('inner')
  await there('ended')
  await until('the end of the inner srun on the host', async () => (await innerSruns(jobs)) === '')
  appendFileSync(jobs.home('gate'), 'looked\n')
  const job = await jobs.ended(id)
  const parts = partsOf(job.output)
  t.equal(job.fields.JobState, 'COMPLETED', job.output)
  t.equal(parts.here, '/tmp/own', 'a folder that only the VM has')
  t.equal(parts.sbcast, '0\nbytes 640\nbytes 640')
  t.equal(parts.relative, '0\nbytes')
  t.not(parts.exists, '0', 'without --force nothing is replaced')
  t.equal(parts.bcast, 'copied /tmp/copied\ncopied /tmp/copied')
  t.equal(parts.nobody, "vmrm: Slurm's commands work in a VM while a task of its job runs there; none does\n1")
  t.equal(parts.restart, 'went on\nwent on\n4', 'a restart of vmrmd on both nodes is not noticed')
  t.equal(parts.outer, '137')
}

t.test("Slurm's commands in a VM", (t) => withJobs(t, 'commands', (jobs) => inOneJob(t, jobs)))

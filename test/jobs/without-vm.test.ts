// A job without a VM behaves on a cluster with vmrm exactly as on one without: same environment, output, errors and ends. Two clusters, side by side.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import t from 'tap'
import { clusterCommand, openCluster } from '../support/cluster.ts'
import { withoutChance } from '../support/compare-jobs.ts'
import { type Jobs, openJobs, withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

/** Differ between any two jobs, whatever the cluster. */
const chance = /^(SLURM_(TASK_PID|STEP_LAUNCHER_PORT|SRUN_COMM_PORT|LAUNCH_NODE_IPADDR)|_)=/

const script = `#!/bin/bash
# Slurm's variables, and whatever a plug-in would add
env -0 >batch.env
ulimit -a
id; pwd; umask; cat /proc/self/status | grep -E '^(Sig(Blk|Ign|Cgt)|NoNewPrivs)'
srun -n2 -O --label bash -c 'env -0 >"step-$SLURM_PROCID.env"; echo "$SLURM_PROCID of $SLURM_NTASKS"; exit $SLURM_PROCID'
echo "srun $?"
srun nosuchcommand
echo "srun $?"
printf '0 echo zero %%t\\n1 echo one %%o\\n' >programs
srun -n2 -O --label --multi-prog programs | sort
seq 3 | srun cat
ps -o args= -p $PPID
exit 5
`

/** salloc tells of any site's PrologFlags=Alloc, and, if it is told in time, of the end of what it gave back itself. */
const remark =
  /^salloc: (Waiting for resource configuration|Nodes n1 are ready for job|Job allocation \d+ has been revoked\.)$/

/** What is asked of both clusters; each answer is compared. */
async function behaviour(jobs: Jobs): Promise<Record<string, unknown>> {
  writeFileSync(jobs.home('script.sh'), script)
  const batch = await jobs.alice(
    ['sbatch', '--wait', '--nodelist=n1', '-n2', '--output=batch.out', 'script.sh', 'a b'],
    { environment: { MINE: 'a\nb' } },
  )
  const id = Number(/Submitted batch job (\d+)/.exec(batch.stdout)?.[1])
  const { fields } = await jobs.ended(id)
  const variables = (name: string) =>
    readFileSync(jobs.home(name), 'utf8')
      .split('\0')
      .filter((each) => !chance.test(each))
      .sort()
  const outside = await jobs.alice(['srun', '-N2', '--label', 'sh', '-c', 'echo "$SLURMD_NODENAME"; exit 3'])
  const held = await jobs.alice(['salloc', '-N1', 'sh', '-c', 'env | grep ^SLURM | sort; srun hostname; exit 9'])
  const bad = await jobs.alice(['sbatch', '--no-such-option', 'script.sh'])
  const { JobState, ExitCode, DerivedExitCode, Reason } = fields
  return {
    batch: [batch.exitCode, withoutChance(batch.stderr, id), JobState, ExitCode, DerivedExitCode, Reason],
    output: withoutChance(readFileSync(jobs.home('batch.out'), 'utf8'), id)
      .split('\n')
      .sort(),
    'environment of the script': variables('batch.env'),
    'environments of the tasks': [variables('step-0.env'), variables('step-1.env')],
    'srun from outside': [
      outside.exitCode,
      outside.stdout.split('\n').sort(),
      withoutChance(outside.stderr, id + 1)
        .split('\n')
        .sort(),
    ],
    salloc: [held.exitCode, held.stdout, held.stderr.split('\n').filter((line) => !remark.test(line))],
    'a wrong option': [bad.exitCode, bad.stderr],
  }
}

t.test('a job without a VM', (t) =>
  withJobs(t, 'without-vm', async (jobs) => {
    const folder = `${jobs.cluster.layout.folder}-plain`
    await clusterCommand(['up', '--no-vmrm'], { VMRM_CLUSTER_DIR: folder })
    try {
      const plain = openJobs(openCluster(folder))
      await plain.cluster.waitUntilIdle()
      // The first jobs of both clusters, so that all their numbers are the same.
      await t.test('behaves as on a cluster without vmrm:', async (t) => {
        const [mine, theirs] = await Promise.all([behaviour(jobs), behaviour(plain)])
        for (const [what, wanted] of Object.entries(theirs)) t.same(mine[what], wanted, what)
      })
      const seen = await jobs.cluster.run(['sh', '-c', 'ls -A /run/vmrm/jobs /var/lib/vmrm/runs'], { node: 'n1' })
      t.match(seen.stdout, /^\/run\/vmrm\/jobs:\n\n\/var\/lib\/vmrm\/runs:\n$/, 'and leaves no trace with vmrm')
    } finally {
      await clusterCommand(['down'], { VMRM_CLUSTER_DIR: folder })
      if (t.passing()) rmSync(folder, { recursive: true, force: true })
    }
  }),
)

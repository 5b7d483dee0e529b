// What sbatch's options make of a job: arrays, files, environment, folder, dependencies, a second start, what sbatch itself says.

import type { JobCase } from '../../support/same-jobs.ts'
import { command } from './ends.ts'

const environment = `env | grep -E '^(MINE|YOURS|EXTRA|HOME|USER|LANG|TMPDIR|PWD|SHELL)=' | sort`

/** Of any two jobs: ids of processes, times, and bash's own. */
const chance = '^(SLURM_(TASK_PID|SPANK_\\w+|JOB_START_TIME|JOB_END_TIME)|VMRM_\\w+|_|SHLVL|OLDPWD)='

export const options: readonly JobCase[] = [
  {
    name: 'a second start',
    script: `#!/bin/bash
echo "start \${SLURM_RESTART_COUNT:-0}, \${SLURM_RESTART_COUNT-unset}"
[ -n "$SLURM_RESTART_COUNT" ] && exit 4
echo ready
while :; do sleep 0.2; done
`,
    arguments: ['--requeue', '--open-mode=append'],
    act: (job) => command(job, 'scontrol', 'requeue', String(job.id)),
    ends: ['FAILED 4:0'],
    says: ['start 0, unset', 'start 1, 1', 'DUE TO JOB REQUEUE'],
  },
  {
    name: 'an array, each task of which ends another way',
    script: `#!/bin/bash
env | grep -E '^SLURM_(ARRAY|JOB_NAME|RESTART)' | sort
ulimit -c 0
case $SLURM_ARRAY_TASK_ID in 1) exit 0 ;; 3) exit 7 ;; 5) kill -SEGV $$ ;; esac
`,
    arguments: ['--array=1-5:2', '--output=%A_%a-%j-%x-%N-%u-%n-%t-%s-%%-%4a.out', '--job-name=many', '--parsable'],
    ends: ['COMPLETED 0:0', 'FAILED 7:0', 'FAILED 0:11'],
    says: ['SLURM_ARRAY_TASK_COUNT=3', 'ID_5'],
  },
  {
    name: 'exit code 255, awaited',
    arguments: [
      '--wait',
      '--wrap=echo wrapped; exit 255',
      '--mail-type=NONE',
      '--comment=of mine',
      '--job-name=a name',
    ],
    // slurmdbd (22.05) has 127 for it, slurmctld 255.
    ends: ['FAILED 127:0'],
    says: ['wrapped', '"ExitCode":"255:0"', 'Submitted batch job ID'],
  },
  {
    name: 'the whole environment, counted resources and files in another folder',
    script: `#!/bin/bash
#SBATCH --job-name=in-the-script
env | grep -vE '${chance}' | sort
pwd
umask
echo "$0" "$#" "$1"
echo err >&2
cat
`,
    arguments: [
      ...['--gres=gpu:2,fake:2', '--ntasks=2', '--cpus-per-task=2', '--ntasks-per-node=2'],
      ...['--chdir=/home', '--input=HERE/job.sh', '--output=HERE/out', '--error=HERE/err-%j-%J'],
    ],
    ends: ['COMPLETED 0:0'],
    says: ['CUDA_VISIBLE_DEVICES=0,1', 'SLURM_JOB_NAME=in-the-script'],
  },
  {
    name: 'no exported environment, and a file that is added to',
    script: `#!/bin/bash\n${environment}\npwd\nsed -i s/ready/read/ nosuch; exit 1\n`,
    arguments: ['--export=NONE,EXTRA=a b', '--chdir=/tmp', '--open-mode=append', '--output=HERE/out'],
    environment: { MINE: '1', LANG: 'de_DE.UTF-8' },
    ends: ['FAILED 1:0'],
    says: ['EXTRA=a b'],
  },
  {
    name: 'a job that is held, released and cannot write its output',
    script: `#!/bin/bash\n${environment}\n`,
    arguments: ['--hold', '--export=MINE,YOURS=two', '--output=no/such/folder/out'],
    environment: { MINE: '1', EXTRA: '2' },
    act: (job) => command(job, 'scontrol', 'release', String(job.id)),
    actAt: 'at-once',
    ends: ['FAILED 0:53'],
  },
  {
    name: 'after one that was to fail',
    script: `#!/bin/bash\necho "$SLURM_JOB_DEPENDENCY"; ${environment}\n`,
    after: 'its own SIGKILL',
    arguments: ['--dependency=afternotok:EARLIER', '--export=MINE,YOURS=two'],
    environment: { MINE: '1', EXTRA: '2' },
    ends: ['COMPLETED 0:0'],
    says: ['YOURS=two'],
  },
  {
    name: 'after one that was not to fail',
    arguments: ['--dependency=afterok:EARLIER', '--kill-on-invalid-dep=yes', '--wrap=echo never'],
    after: 'its own SIGKILL',
    ends: ['CANCELLED 0:0'],
  },
]

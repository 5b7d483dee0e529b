// What a task finds around it: environment, folder, umask, limits, counted resources.
import type { Line } from '../../support/same-lines.ts'

const one = 'srun -w n1 -N1 -n1'
// By absolute paths: a task without PATH finds nothing.
const shown = `/bin/sh -c '/usr/bin/env | /bin/grep -E "^(MINE|YOURS|EXTRA|HOME|USER|LANG|LC_ALL|TMPDIR|SHELL|PATH)=" | /usr/bin/sort'`

/** Of any two jobs: where srun listens, the task's own pid, and bash's own. */
const chance =
  '^(SLURM_(TASK_PID|STEP_LAUNCHER_PORT|SRUN_COMM_PORT|LAUNCH_NODE_IPADDR|SPANK_\\w+|STEP_ID|STEPID)|SRUN_DEBUG|_|SHLVL|OLDPWD)='

/** Slurm's remark of the job's memory, which no kernel heeds, and what a kernel makes of its own memory. */
const ofTheKernel = /^(max memory size|pending signals)/

/** The site's TaskProlog and TaskEpilog (task-scripts.ts) at a step. */
export const siteScripts: Line = {
  name: 'the prolog and epilog of the site',
  line: `export OF_SITE=1 EPILOG_SAYS=$PWD/epilog; ${one} sh -c 'echo "$FROM_SITE|$OF_SITE"'; cat epilog`,
  code: 0,
  says: '0 of alice|',
}

export const surroundings: readonly Line[] = [
  {
    name: 'the whole environment of every task',
    line: `MINE='a b' srun -n4 sh -c 'env >env.$SLURM_PROCID'; for i in 0 1 2 3; do grep -vE '${chance}' env.$i | sort >all.$i; rm env.$i; done; wc -l <all.0 | grep -qE '^[4-9][0-9]$'`,
    code: 0,
    says: 'SLURM_STEP_NUM_TASKS=4',
    // Slurm 22.05 gives TMPDIR=/tmp to the first task of a node alone; in VMs every task has it.
    unlike: /^(SLURM_SPANK_VMRM_\w+|VMRM_(HOSTFILE|MACHINEFILE)|TMPDIR)=/,
  },
  {
    name: 'exported variables',
    line: `export MINE=1 YOURS='two words' LANG=de_DE.UTF-8 LC_ALL=C TMPDIR=/tmp
for what in ALL NONE NIL MINE MINE,YOURS MINE=3 ALL,EXTRA=4 NONE,EXTRA=5 'EXTRA=a b,MINE'; do echo "== $what"; ${one} --export="$what" ${shown}; done`,
    code: 0,
    says: 'EXTRA=4',
  },
  { name: 'a command without a PATH', line: `${one} --export=NONE true`, code: 2 },
  { name: 'a folder to work in', line: `${one} --chdir=/tmp pwd; mkdir sub; ${one} -D sub pwd`, code: 0 },
  { name: 'a folder that is not there', line: `${one} --chdir=/no/such pwd`, code: 0 },
  {
    name: 'a prolog of the user’s own',
    line: `printf '#!/bin/sh\\necho "print I am $SLURM_PROCID $SLURM_SCRIPT_CONTEXT"; echo "export ADDED=a b"; echo "unset MINE"; exit $FAIL\\n' >prolog; chmod 755 prolog
export MINE=1 FAIL=0; for file in $PWD/prolog /no/such prolog; do ${one} --task-prolog=$file sh -c 'echo "$ADDED|$MINE|$SLURM_SCRIPT_CONTEXT"'; echo $?; done
SLURM_TASK_PROLOG=$PWD/prolog FAIL=3 ${one} true`,
    code: 3,
    says: 'I am 0 prolog_task',
  },
  siteScripts,
  {
    name: 'a program that is copied first',
    line: `${one} --bcast=/tmp/the-echo.$SLURM_JOB_ID /bin/echo one; srun -l -n4 --bcast /bin/echo four; rm -f slurm_bcast*; ${one} --bcast=/tmp/x nosuch`,
    code: 1,
    order: 'any',
    says: '3: four',
  },
  {
    name: 'the umask',
    line: `umask 077; ${one} sh -c 'umask; touch a; mkdir b; stat -c "%a %n" a b'; umask 002; ${one} sh -c umask`,
    code: 0,
    says: '0077',
  },
  {
    name: 'limits',
    line: `${one} bash -c 'ulimit -a'; ${one} bash -c 'ulimit -H -n -c -s -u'`,
    code: 0,
    says: 'open files',
    unlike: ofTheKernel,
  },
  {
    name: 'limits that the user changed',
    line: `ulimit -S -n 512 -c 0 -s 4096 -u 900 -t 1000 -f 100000; ${one} bash -c 'ulimit -a'`,
    code: 0,
    says: '512',
    unlike: ofTheKernel,
  },
  {
    name: 'limits that are not taken along',
    line: `ulimit -S -n 512 -s 4096; ${one} --propagate=NONE bash -c 'ulimit -n; ulimit -s'; ${one} --propagate=STACK bash -c 'ulimit -n; ulimit -s'`,
    code: 0,
  },
  {
    name: 'counted resources',
    line: `for gres in gpu:1 gpu:2 fake:1 gpu:1,fake:2 none; do echo "$gres"; ${one} --gres=$gres sh -c 'env | grep -E "GRES|GPU|CUDA|FAKE" | sort'; done`,
    code: 0,
    says: 'CUDA_VISIBLE_DEVICES=0,1',
  },
  {
    name: 'counted resources by task',
    line: `srun -n2 -l --gpus-per-task=1 sh -c 'env | grep -E "GRES|GPU|CUDA" | sort'`,
    code: 0,
    order: 'any',
  },
  { name: 'who one is', line: `${one} sh -c 'id; echo ~; whoami; groups'`, code: 0, says: 'alice' },
  {
    name: 'files that are made and grow outside while a task waits for them',
    line: `${one} sh -c 'touch waits; while [ ! -e made ]; do sleep 0.1; done; while ! grep -q more made; do sleep 0.1; done; echo seen' &
while [ ! -e waits ]; do sleep 0.1; done; sleep 1; touch made; sleep 1; echo more >>made; wait $!`,
    code: 0,
    says: 'seen',
  },
  {
    name: 'a folder for what is temporary',
    line: `TMPDIR=/tmp/mine ${one} sh -c 'echo $TMPDIR; mktemp | cut -c1-5'`,
    code: 0,
  },
]

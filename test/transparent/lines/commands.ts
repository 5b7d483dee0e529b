// Slurm's commands from a batch script: what they read, write, print and end with. Jobs that they start run without VMs, since their ends are looked at, not where they run.
import type { Line } from '../../support/same-lines.ts'

/** A folder of the script's own, in the guest for the one, on the node for the other. */
const inOwnFolder = (line: string): string => `d=$(mktemp -d); ${line}; rm -r $d`

const batch = 'sbatch --vm-image=none -n1 --mem=50'

const allocate = 'salloc --vm-image=none -n1 --mem=50'
/** How long it waits for the job is chance. */
const waited = /^salloc: (Pending job allocation|job \S+ (queued|has been allocated)|Waiting for|Nodes )/
/** So is whether it hears of the end that it gives the job itself. */
const waitedAndHeard = new RegExp(`${waited.source}|^salloc: Job allocation`)
/** What it says, with a word for the numbers of its jobs. */
const told = (line: string): string =>
  `{ ${line}; } 2>told; code=$?; sed -E 's/[0-9]{5,}/OTHER/' told >&2; rm told; exit $code`
const one = 'srun -n1 -N1 -w n1 --mem=50 --overlap'
const step = `$(squeue --noheader --steps --jobs=$SLURM_JOB_ID --format=%i | grep -E '[.][0-9]+$' | tail -n 1)`
const until = (condition: string): string => `until ${condition}; do sleep 0.1; done`

export const commands: readonly Line[] = [
  {
    name: 'srun on all nodes',
    line: `srun -l -n4 -N2 sh -c 'echo node $SLURM_NODEID of $SLURM_NNODES'`,
    code: 0,
    order: 'any',
    says: '3: node 1 of 2',
  },
  {
    name: "files of srun's in the script's own folder",
    line: inOwnFolder(
      `echo in >$d/in; ${one} --input=$d/in --output=$d/out --error=$d/err sh -c 'cat; echo err >&2'; echo $?; cat $d/out $d/err; echo 0-3 echo %t >$d/programs; srun -n4 --multi-prog $d/programs`,
    ),
    code: 0,
    order: 'any',
    says: 'err',
  },
  {
    name: 'a script in the own folder, with directives and arguments',
    line: inOwnFolder(
      `printf '#!/bin/bash\\n#SBATCH --job-name=directive\\necho "$SLURM_JOB_NAME $*"; exit 3\\n' >$d/script; ${batch} --wait --output=out $d/script one "two  three"; echo $?; cat out`,
    ),
    code: 0,
    says: 'directive one two  three',
    unlike: /^Submitted batch job/,
  },
  {
    name: 'scripts from stdin and --wrap, and what they export',
    line: `export OWN='a b'; printf 'FILE=f\\0' >vars
a=$(${batch} --parsable -o a --export=ALL,MORE=1 <<'END'
#!/bin/sh
echo "from stdin|$OWN|$MORE"
END
)
b=$(${batch} --parsable -J named -o b --export-file=vars --wrap 'echo "$SLURM_JOB_NAME|$OWN|$FILE"')
${until('[ -z "$(squeue -h -j $a,$b 2>/dev/null)" ]')}`,
    code: 0,
    says: 'from stdin|a b|1',
  },
  {
    name: 'options that cannot be had',
    line: [
      'sbatch --bad',
      'sbatch nosuch',
      'sbatch -p nosuch --wrap x',
      'salloc --bad',
      'squeue --bad',
      'scancel',
      'scancel 99',
      'sattach 99.0',
      'strigger --set',
      'sbcast one',
      'scontrol show job 99',
      'scontrol nosuch',
      'sinfo -n',
      'sacct --bad',
      'sstat --bad',
      'srun',
    ]
      .map((line) => `${line}; echo $?`)
      .join('\n'),
    code: 0,
    says: 'unrecognized option',
  },
  {
    name: 'salloc: a command, and its end by a signal',
    line: told(
      `${allocate} -J named sh -c 'echo $SLURM_NNODES $SLURM_JOB_NAME; srun -n1 sh -c "exit 4"; echo $?; kill -TERM $$'; echo $?`,
    ),
    code: 0,
    says: /"1 named".*Granted job allocation OTHER.*Relinquishing job allocation OTHER/,
    unlike: waitedAndHeard,
  },
  {
    name: 'salloc: the default shell',
    line: told(`echo 'echo shell $SLURM_JOB_NAME; exit 5' | SHELL=/bin/sh ${allocate}`),
    code: 5,
    says: /"shell \w+".*Relinquishing job allocation OTHER/,
    unlike: waitedAndHeard,
  },
  {
    name: 'salloc: an allocation that ends under its command',
    line: told(`${allocate} --kill-command=TERM -J ends sh -c 'scancel $SLURM_JOB_ID; exec sleep 50'`),
    code: 1,
    says: 'salloc: Job allocation OTHER has been revoked.',
    unlike: waited,
  },
  {
    name: 'salloc: no such command',
    line: told(`${allocate} nosuchcommand`),
    code: 1,
    says: /Relinquishing job allocation OTHER.*Unable to find command/,
    unlike: waitedAndHeard,
  },
  {
    name: 'scancel of a step',
    line: `${one} sh -c 'trap "" TERM; touch there; while :; do sleep 1; done' & ${until('[ -e there ]')}; scancel ${step}; wait $!`,
    code: 137,
    unlike: /CANCELLED AT/,
  },
  {
    name: 'a signal to a step',
    line: `${one} sh -c 'trap "echo told; exit 6" USR1; touch there; while :; do sleep 0.1; done' & ${until('[ -e there ]')}; scancel -s USR1 ${step}; wait $!`,
    code: 6,
    says: 'told',
  },
  {
    name: 'another job: held, looked at, released, cancelled',
    line: `id=$(sbatch --parsable --vm-image=none --hold -n1 -J held -o /dev/null --wrap 'exec sleep 60'); squeue -h -j $id -o '%j %T %r'; scontrol release $id; ${until('[ "$(squeue -h -j $id -o %T)" = RUNNING ]')}; scontrol -o show job $id | grep -o 'JobName=[^ ]*\\|JobState=[^ ]*'; scancel $id; ${until('[ -z "$(squeue -h -j $id)" ]')}; scontrol -o show job $id | grep -o 'JobState=[^ ]*'`,
    code: 0,
    says: 'held PENDING JobHeldUser',
  },
  {
    name: 'stdin of a step from /dev/null and from no file',
    line: `echo never | ${one} --input=/dev/null cat; echo never | ${one} --input=none cat`,
    code: 0,
  },
  {
    name: 'squeue, sinfo and scontrol',
    line: `squeue -h -j $SLURM_JOB_ID -o '%j %u %T %D'; sinfo -h -o '%P %D' | sort; sinfo -h -N -o '%N'; scontrol show hostnames 'n[1-2]'; echo show config | scontrol | grep ^ClusterName; scontrol show job $SLURM_JOB_ID | grep -o 'NumNodes=.*NumCPUs=[0-9]*'`,
    code: 0,
    says: 'ClusterName',
  },
  {
    name: 'sacct and sstat',
    line: `sacct -n -X -j $SLURM_JOB_ID -o JobName,NNodes; sstat -n -a -P -j $SLURM_JOB_ID -o JobID,NTasks; echo $?
srun -n2 -N1 -w n1 --mem=50 --overlap sh -c 'touch there.$SLURM_PROCID; until [ -e go ]; do sleep 0.1; done' & ${until('[ -e there.0 ] && [ -e there.1 ]')}
sstat -n -P -j ${step} -o NTasks,Nodelist; touch go; wait $!`,
    code: 0,
    says: /play .*"ID\.batch\|1","0","2\|NODE"/,
  },
  {
    name: 'sattach',
    line: `srun -n1 -N1 -w n1 --mem=50 --overlap --output=none sh -c 'touch there; while [ ! -e go ]; do echo attached; sleep 0.1; done; exit 3' & ${until('[ -e there ]')}; task=$!; number=${step}; sattach $number >all & ${until('grep -qs attached all')}; touch go; wait $!; echo "sattach $?"; wait $task; echo "srun $?"; sort -u all; rm all`,
    code: 0,
    says: '"sattach 3","srun 3","attached"',
  },
  {
    // Slurm (22.05) takes triggers from SlurmUser alone: test/jobs/commands.test.ts has one that fires.
    name: 'strigger, which is refused',
    line: `printf '#!/bin/sh\\n' >program; chmod +x program; strigger --set --jobid=$SLURM_JOB_ID --fini --program=$PWD/program; echo $?; strigger --get -h --jobid=$SLURM_JOB_ID 2>&1 | awk '{print $2,$4}'; strigger --clear --jobid=$SLURM_JOB_ID; echo $?`,
    code: 0,
    says: /"1","1".*slurm_clear_trigger: No such process.*slurm_set_trigger: Access/,
  },
]

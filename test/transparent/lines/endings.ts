// How steps end: exit codes, signals from every side, and what the tasks' traps saw of them.
import type { Line } from '../../support/same-lines.ts'

/** A task that tells of a signal in a file `task`, and ends with `code` then; `ready` is in the file before. */
const listener = (signal: string, code: number): string =>
  `bash -c 'trap "echo task got ${signal}; exit ${code}" ${signal}; echo ready; while :; do sleep 0.2; done'`

/** One that only SIGKILL ends, so that it is no race which signal did; `ready` is in the file before. */
const stubborn = `bash -c 'trap "" INT TERM; echo ready; while :; do sleep 0.2; done'`

/** Waits for the task, without a bound of its own: the line has one. srun hears of its start a little later. */
const isReady = `while ! grep -q ready task 2>/dev/null; do sleep 0.1; done; sleep 0.5`

/** A task in the background, and what is done to it. */
const disturbed = (task: string, act: string, option = ''): string =>
  `srun -w n1 -N1 -n1 ${option} --output=task ${task} & ${isReady}; ${act}; wait $!`

/** slurmstepd's line reaches an srun that still listens, and none that has heard of the last task's end before. */
const toldOfTheEnd = /CANCELLED AT/

/** The number of the step that runs: the lines before do not count. */
const step = `$(squeue --noheader --steps --jobs=$SLURM_JOB_ID --format=%i | grep -E '[.][0-9]+$' | tail -n 1)`

const exits = [0, 1, 2, 7, 100, 126, 127, 128, 137, 143, 254, 255]
const signals = { HUP: 1, INT: 2, QUIT: 3, ABRT: 6, KILL: 9, USR1: 10, SEGV: 11, TERM: 15 }

export const endings: readonly Line[] = [
  {
    name: 'exit codes',
    line: exits.map((code) => `srun -w n1 -N1 -n1 sh -c 'exit ${code}'; echo $?`).join('\n'),
    code: 0,
  },
  ...Object.entries(signals).map(([name, number]) => ({
    name: `SIG${name}`,
    line: `ulimit -c 0; srun -w n1 -N1 -n1 sh -c 'kill -${name} $$'`,
    code: 128 + number,
  })),
  {
    name: 'scancel of a signal to a step',
    line: disturbed(listener('USR1', 9), `scancel --signal=USR1 ${step}`),
    code: 9,
    says: 'task got USR1',
  },
  // Slurm kills it at once.
  { name: 'scancel of a step', line: disturbed(stubborn, `scancel ${step}`), code: 137, unlike: toldOfTheEnd },
  {
    name: 'Ctrl-C, twice',
    line: disturbed(stubborn, 'kill -INT $!; sleep 0.3; kill -INT $!'),
    code: 137,
    unlike: toldOfTheEnd,
  },
  {
    name: 'Ctrl-C, once, with --quit-on-interrupt',
    line: disturbed(stubborn, 'kill -INT $!', '--quit-on-interrupt'),
    code: 137,
    unlike: toldOfTheEnd,
  },
  {
    name: 'USR2 to srun is passed on',
    line: disturbed(listener('USR2', 12), 'kill -USR2 $!'),
    code: 12,
    says: 'task got USR2',
  },
  { name: 'TERM to srun ends the step', line: disturbed(stubborn, 'kill -TERM $!'), code: 137, unlike: toldOfTheEnd },
  { name: 'several tasks, of which one fails', line: `srun -n4 sh -c 'exit $SLURM_PROCID'`, code: 3 },
  {
    name: 'one bad exit ends the step',
    line: `srun -n4 -K sh -c 'sleep 1; [ $SLURM_PROCID = 1 ] && exit 4; sleep 300'`,
    code: 143,
  },
  {
    name: 'one bad exit does not, where it may not',
    line: `srun -n4 --kill-on-bad-exit=0 sh -c '[ $SLURM_PROCID = 1 ] && exit 4; sleep 1; echo done'`,
    code: 4,
    says: 'done',
  },
  {
    name: 'the first end ends the step after --wait seconds',
    line: `srun -n2 --wait=1 sh -c '[ $SLURM_PROCID = 1 ] && exit 0; exec sleep 300'`,
    code: 137,
    unlike: toldOfTheEnd,
  },
  { name: "a step's own time limit is Slurm's to check", line: `srun -w n1 -N1 -n1 --time=1 sh -c 'exit 0'`, code: 0 },
  { name: 'no such command', line: 'srun -w n1 -N1 -n1 nosuchcommand', code: 2 },
  { name: 'no such path', line: 'srun -w n1 -N1 -n1 /no/such/path', code: 2 },
  { name: 'a folder as a command', line: 'srun -w n1 -N1 -n1 /tmp', code: 13 },
  { name: 'a file without the right to run', line: 'srun -w n1 -N1 -n1 ~/not-executable', code: 13 },
  { name: 'a program of no known format', line: 'srun -w n1 -N1 -n1 ~/no-format', code: 8 },
  {
    name: 'processes that a task leaves behind end with it',
    line: `srun -w n1 -N1 -n1 sh -c 'sleep 300 & echo left'`,
    code: 0,
    says: 'left',
  },
]

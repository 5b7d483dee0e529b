// stdin, stdout and stderr of steps: patterns of files, tasks by number, labels, terminals.
import type { Line } from '../../support/same-lines.ts'

const one = 'srun -w n1 -N1 -n1'

/** Where srun cannot open a file it ends and leaves its step behind (Slurm 22.05) until the job ends: such a step may not take much. A call from a VM finds out before there is a step. */
const small = `${one} --overlap --mem=10 --gres=none`

/**
 * For lines that run outside of VMs. From a script in one no step is left where a file cannot be opened,
 * how a step ends whose reader went away is chance, the small image has no `script`, and so many bytes take a busy machine longer than a line may.
 */
export const outsideOnly: readonly Line[] = [
  { name: 'a reader that goes away', line: `set +o pipefail; srun -w n1 -N1 -n1 seq 300000 | head -n 1`, code: 0 },
  {
    name: 'a terminal',
    line: `stty_of() { script -qec "$1" /dev/null  < <(sleep 4) | tr -d '\\r'; }
stty_of "${one} --pty sh -c 'tty >/dev/null && echo a terminal; stty size; exit 4'"; echo \${PIPESTATUS[0]}`,
    code: 0,
    says: 'a terminal',
  },
  {
    name: 'large output',
    line: `srun -n2 head -c 8000000 /dev/zero | md5sum; ${one} --output=big head -c 3000000 /dev/zero; wc -c <big; rm big`,
    code: 0,
    says: '3000000',
  },
  { name: 'stdin from a file that is not there', line: `${small} --input=nosuch cat`, code: 1 },
  { name: 'an output file in no folder', line: `${small} --output=no/such/folder/out echo lost`, code: 1 },
]

export const streams: readonly Line[] = [
  { name: 'stdin from a pipe, to all tasks', line: `seq 5 | srun -n4 --label cat`, code: 0, order: 'any' },
  { name: 'stdin for one task only', line: `seq 3 | srun -n2 --input=1 --label cat`, code: 0 },
  { name: 'no stdin', line: `echo never | srun -n2 --input=none cat`, code: 0 },
  { name: 'stdin from a file', line: `seq 3 >in; srun -n2 --input=in --label cat`, code: 0, order: 'any' },
  { name: 'stdin from /dev/null', line: `${one} cat </dev/null`, code: 0 },
  {
    name: 'an output file for all tasks',
    line: `srun -n4 --output=whole.out sh -c 'echo $SLURM_PROCID'; sort whole.out; rm whole.out`,
    code: 0,
    says: '3',
  },
  {
    name: 'a name that begins with a word of Slurm is that word',
    line: `srun -n2 --output=all.out sh -c 'echo $SLURM_PROCID'; ls all.out 2>/dev/null || echo no file`,
    code: 0,
    order: 'any',
    says: 'no file',
  },
  {
    name: 'every pattern of file names',
    line: `srun -n2 -J named --output='%j-%J-%s-%t-%n-%N-%u-%x-%A-%a-%%-%4t.out' --error='err-%4n.%2t' sh -c 'echo out $SLURM_PROCID; echo err $SLURM_PROCID >&2'`,
    code: 0,
    says: 'err-0001.01',
  },
  {
    name: 'an output file is cut, or added to',
    line: `for mode in truncate append append truncate append; do ${one} --open-mode=$mode --output=out echo $mode; done`,
    code: 0,
    says: 'append',
  },
  {
    name: 'an output file in no folder, a task',
    line: `srun -n2 --output=no/such/%t/out echo lost`,
    code: 0,
    order: 'any',
  },
  { name: 'no output', line: `${one} --output=none --error=none sh -c 'echo out; echo err >&2'`, code: 0 },
  {
    name: 'output to /dev/null',
    line: `${one} --output=/dev/null --error=err sh -c 'echo out; echo err >&2'`,
    code: 0,
  },
  { name: 'the output of one task', line: `srun -n4 --output=2 sh -c 'echo I am $SLURM_PROCID'`, code: 0 },
  { name: 'stdout and stderr apart', line: `${one} --error=err sh -c 'echo out; echo err >&2'`, code: 0 },
  { name: 'labels', line: `srun -n4 -l sh -c 'echo out $SLURM_PROCID; printf cut'`, code: 0, order: 'any' },
  { name: 'unbuffered', line: `${one} -u sh -c 'printf a; printf b; echo c'`, code: 0, says: 'abc' },
  { name: 'a terminal, without one', line: `${one} --pty sh -c 'echo hello'`, code: 0, says: 'hello' },
]

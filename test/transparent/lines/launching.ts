// How tasks are laid out and started: numbers, nodes, distributions, several programs, and options that cannot be had.
import type { Line } from '../../support/same-lines.ts'

const places = `sh -c 'echo task $SLURM_PROCID local $SLURM_LOCALID node $SLURM_NODEID $SLURMD_NODENAME of $SLURM_NTASKS on $SLURM_NNODES'`
const asked = (...options: string[]): string =>
  options.map((each) => `echo '${each}'; srun ${each} ${places}`).join('\n')

export const launching: readonly Line[] = [
  {
    name: 'distributions',
    line: asked('', '-n2', '-N2', '--ntasks-per-node=1 -N2', '-m cyclic', '-m block', '-m plane=2', '-w n2 -N1 -n1'),
    code: 0,
    order: 'any',
    says: 'task 3 local 1 node 1',
  },
  {
    name: 'distributions by exclusion, relative and with more tasks than CPUs',
    line: asked('-x n1 -N1 -n2', '-r1 -N1 -n1', '-n6 -O', '--ntasks-per-core=1 -n2', '-n2 -c2'),
    code: 0,
    order: 'any',
  },
  {
    name: 'sharing',
    line: asked(
      '--overlap -w n1 -n1 -N1',
      '--exclusive -w n1 -n1 -N1',
      '--exact -w n1 -n1 -N1 -c1',
      '--mem=100 -w n1 -n1 -N1',
      '--immediate=20 -w n1 -n1 -N1',
    ),
    code: 0,
    order: 'any',
  },
  {
    name: 'two steps at the same time',
    line: `for i in 1 2; do srun --exact -w n1 -N1 -n1 -c1 --mem=100 sh -c 'echo here' & done; wait`,
    code: 0,
    order: 'any',
  },
  {
    name: 'several programs',
    line: `printf '0 echo zero %%t %%o\\n1-2 echo "some more" %%t %%o\\n3 false\\n' >programs; srun -l -n4 --multi-prog programs`,
    code: 1,
    order: 'any',
    says: /some more.{0,4} 2 1/,
  },
  {
    name: 'several programs, with mistakes',
    line: `echo '0 echo only' >few; srun -n4 --multi-prog few; echo $?; echo '0-3 nosuch' >bad; srun -n4 --multi-prog bad; echo $?; srun -n4 --multi-prog none; echo $?`,
    code: 0,
    order: 'any',
  },
  {
    name: 'options that cannot be had',
    line: `for option in -n40 -N3 -w\\ n9 --mem=90000 -c\\ 40 --nosuchoption --mpi=nosuch --gres=gpu:9 --gres=nosuch:1 --distribution=odd --x11; do echo "$option"; srun --immediate=1 $option true; echo "-> $?"; done`,
    code: 0,
  },
  {
    name: 'arguments are data',
    line: `srun -w n1 -N1 -n1 printf '<%s>' 'a b' '$(id)' '' '*' "\`x\`" $'line\\nbreak'; echo`,
    code: 0,
  },
  { name: 'names of steps', line: 'srun -w n1 -N1 -n1 -J "a name" sh -c \'echo $SLURM_JOB_NAME\'', code: 0 },
  {
    name: 'a step that is looked at',
    line: `srun -w n1 -N1 -n1 -J looked sh -c 'touch there; while [ ! -e seen ]; do sleep 0.1; done' & while [ ! -e there ]; do sleep 0.1; done
squeue -h -s -j $SLURM_JOB_ID -o '%i %j %u %N' | grep looked | sed 's/[.][0-9]* /.STEP /'; touch seen; wait`,
    code: 0,
    says: 'looked',
  },
]

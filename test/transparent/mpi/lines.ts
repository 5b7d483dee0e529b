// Launches of check.c that are the same on bare nodes and in VMs: what they print, how they end, and their steps in the accounting.
// MPICH is among them only where a rank fails: its MPI_Finalize may hang (results.ts); with hydra the end of the step is chance, too.
import type { Line } from '../../support/same-lines.ts'
import { hostsIn } from './results.ts'

const results = (beside: string): RegExp => new RegExp(`ring.*:1,.*sums.*:1,.*heat.*:1,.*beside.*:\\[${beside}\\]`)

/** Who of the others is told first that a rank has failed, or sees its end by itself, is chance; so are their words. */
const wordsOfOthers = /^srun: |^slurmstepd: |UCX +ERROR|Process name: /

/** One rank a node is enough to fail. */
const openMpi = 'srun -n2 --ntasks-per-node=1 --mpi=pmix mpi/run check.openmpi'
const mpirun = 'mpi/run mpirun -n 2 --map-by ppr:1:node check.openmpi'
const mpich = 'srun -n2 --ntasks-per-node=1 --mpi=pmi2 mpi/run check.mpich'

/** Which of two codes is the larger for srun depends on who was killed first: that it fails is what counts. */
const fails = (line: string): string => `${line} && exit; exit 1`

/** Its step is known in the accounting. */
const named = (line: string): string => line.replace('srun', 'srun --job-name=aborted')

const abortedStep = /^([^|]*\|aborted\|[^|]*\|)(?:FAILED\|\d+:0|CANCELLED[^|]*\|0:\d+)\|/
const orted = /^((?:[^|]*\|){2}(?<=\|orted\|)(?:[^|]*\|){3}).*/

/**
 * Whether an aborted step counts as failed or cancelled depends on who was first. mpirun has orted started on other nodes than its own, which a VM,
 * having another name, is not.
 */
export const shareOfRow = (row: string): string => row.replace(abortedStep, '$1ABORTED|').replace(orted, '$1')

const succeeding: readonly Line[] = [
  {
    name: 'Open MPI by PMIx, two ranks a node',
    line: 'srun --mpi=pmix mpi/run check.openmpi',
    code: 0,
    says: results('0,0,2,2'),
  },
  { name: 'mpirun, which asks srun', line: 'mpi/run mpirun check.openmpi', code: 0, says: results('0,0,2,2') },
  { name: 'Open MPI, one rank ends with 5', line: `${openMpi} exit`, code: 5, says: 'Exited with exit code 5' },
]

const failing: readonly Line[] = [
  {
    name: 'Open MPI, one rank aborts',
    line: fails(named(`${openMpi} abort`)),
    code: 1,
    says: 'MPI_ABORT was invoked on rank 1',
  },
  { name: 'Open MPI, one rank is killed', line: openMpi.replace('srun', 'srun -K').concat(' die'), code: 143 },
  { name: 'mpirun, one rank ends with 5', line: `${mpirun} exit`, code: 5, says: 'Exit code:    5' },
  { name: 'mpirun, one rank aborts', line: `${mpirun} abort`, code: 3, says: 'with errorcode 3' },
  {
    name: 'MPICH, one rank aborts',
    line: fails(named(`${mpich} abort`)),
    code: 1,
    says: 'application called MPI_Abort',
  },
]

/** They are run in a folder of their own; the programs lie in the home. */
export const mpiLines: readonly Line[] = [
  ...succeeding.map((each) => ({ ...each, hosts: hostsIn })),
  ...failing.map((each) => ({ ...each, unlike: wordsOfOthers })),
].map((each) => ({ ...each, line: `cd; ${each.line}` }))

// Real MPI programs by `srun --mpi=…`, `mpirun` and `mpiexec.hydra` in the VMs of two nodes, and the same script on the bare nodes: same results,
// same outcome. Open MPI and MPICH come from a folder in the home (prefix.ts), so that the small image does.
import { rmSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Jobs, withJobs } from '../../support/job-cluster.ts'
import { placeMpi } from './prefix.ts'
import { type Launch, launchedIn, launches, rightResults, untilResults } from './results.ts'

t.setTimeout(900_000)

/** Many programs in one job, on a machine that others use. */
const jobMs = 560_000

/**
 * Each step, and how srun ends; whom a failed one kills first is chance. `check` prints a line of JSON, and fails where a result is wrong.
 * MPICH has one rank a node where its end counts: with more, on bare nodes too, MPI_Finalize of Debian's 4.0.2 hangs when the machine is busy, since
 * ranks that wait in PMI's barrier no longer serve others that still disconnect (pmodels/mpich pull request 6596; no setting of UCX or MPICH avoids it).
 */
const mpich = 'srun -n2 --ntasks-per-node=1 --mpi=pmi2 mpi/run'
const steps = [
  { name: 'MPICH by PMI', line: `${mpich} check.mpich`, outcome: 'fine' },
  { name: 'Open MPI by PMIx, two ranks a node', line: 'srun --mpi=pmix mpi/run check.openmpi', outcome: 'fine' },
  { name: 'mpirun, which asks srun', line: 'mpi/run mpirun check.openmpi', outcome: 'fine' },
  { name: 'MPICH, one rank aborts', line: `${mpich} check.mpich abort`, outcome: 'failed' },
  { name: 'Open MPI, one rank aborts', line: 'srun --mpi=pmix mpi/run check.openmpi abort', outcome: 'failed' },
] as const

/** Only in VMs, as the bare nodes have no ssh among them. orted is not in the PATH that ssh gives. */
const openMpiOverSsh =
  'mpi/run mpirun --mca plm rsh --mca ras ^slurm --hostfile $VMRM_HOSTFILE --mca orte_launch_agent "$PWD/mpi/run orted" check.openmpi'
/** Two ranks a node. */
const hydra = 'mpi/run mpiexec.hydra'
const onlyInVms = [
  { name: 'mpirun over ssh', line: openMpiOverSsh },
  { name: 'MPICH by PMI, two ranks a node', line: untilResults('srun --mpi=pmi2 mpi/run check.mpich') },
  { name: 'mpiexec.hydra, which asks srun', line: untilResults(`${hydra} check.mpich`) },
  { name: 'mpiexec.hydra over ssh', line: untilResults(`${hydra} -bootstrap ssh -f $VMRM_MACHINEFILE check.mpich`) },
] as const

/** It goes on until it is told, while the daemons that its bytes pass are exchanged. */
const restarted = { name: 'vmrmd restarted meanwhile', line: 'srun --mpi=pmix mpi/run check.openmpi until /tmp/enough' }

/** New daemons on both nodes; then the program, which is in the first VM, hears that it is enough. */
async function restartDaemons(t: Test, { cluster, alice }: Jobs, id: number): Promise<void> {
  for (const node of ['n1', 'n2']) await cluster.daemon('restart', node, 'vmrmd')
  t.match(await alice(['vmrm', 'exec', String(id), '--', 'touch', '/tmp/enough']), { exitCode: 0 })
}

const scriptOf = (lines: readonly Launch[]): string => `#!/bin/bash\ncd /home/alice\n${launches(lines)}`

const shape = ['--nodes=2', '--ntasks=4', '--ntasks-per-node=2', '--mem=700', '--time=15']
const inVms = [...shape, '--vm-image=tiny']

async function withMpi(t: Parameters<typeof withJobs>[0], work: (jobs: Jobs) => Promise<void>): Promise<void> {
  await withJobs(t, 'mpi', async (jobs) => {
    await placeMpi(jobs.home('mpi'))
    try {
      await work(jobs)
    } finally {
      rmSync(jobs.home('mpi'), { recursive: true })
    }
  })
}

await withMpi(t, async (jobs) => {
  await t.test(
    'a script in a VM gives what it gives on bare nodes, and with the other launchers the same',
    async (t) => {
      const bare = launchedIn((await jobs.run(scriptOf(steps), { arguments: shape })).output)
      const id = await jobs.submit(scriptOf([restarted, ...steps, ...onlyInVms]), { arguments: inVms })
      await jobs.awaitOutput(id, 'working', jobMs)
      await restartDaemons(t, jobs, id)
      const job = await jobs.ended(id, jobMs)
      const found = launchedIn(job.output)
      const oneEach = rightResults([0, 1])
      const twoEach = rightResults([0, 0, 1, 1])
      for (const { name, line, outcome } of steps) {
        const results = line.includes('mpich') ? oneEach : twoEach
        t.strictSame(found[name], { results: outcome === 'fine' ? results : [], outcome }, `${name}\n${job.output}`)
        t.strictSame(found[name], bare[name], `${name} on bare nodes`)
      }
      for (const { name } of [...onlyInVms, restarted])
        t.strictSame(found[name], { results: twoEach, outcome: 'fine' }, `${name}\n${job.output}`)
      t.notMatch(job.output, /"n1"/, 'no rank ran on a node itself')
    },
  )

  await t.test(
    'with two VMs a node, ranks that Slurm counts as neighbours reach each other; other types are refused',
    async (t) => {
      const lines = [
        'srun -n2 --mpi=pmi2 mpi/run check.mpich',
        'srun --mpi=pmix mpi/run check.openmpi',
        'srun --mpi=cray_shasta true',
      ] as const
      const text = scriptOf(lines.map((line) => ({ name: line, line })))
      const split = ['--nodes=1', '--ntasks=4', '--mem=1400', '--vm-image=tiny', '--vm-script=host', '--vm-per-node=2']
      const job = await jobs.run(text, { arguments: split })
      const found = launchedIn(job.output)
      t.strictSame(found[lines[0]], { results: rightResults([0, 1]), outcome: 'fine' }, job.output)
      t.strictSame(found[lines[1]], { results: rightResults([0, 0, 1, 1]), outcome: 'fine' }, job.output)
      t.match(job.output, '\n-> 65\n')
      t.match(job.output, 'vmrm: --mpi=cray_shasta does not work in VMs; --mpi=pmi2, --mpi=pmix and --mpi=none do\n')
    },
  )
})

// Real MPI programs by `srun --mpi=…`, `mpirun` and `mpiexec.hydra` in the VMs of two nodes and on the bare nodes: same output, same end, same
// accounting. Open MPI and MPICH come from a folder in the home (prefix.ts), so that the small image does. Launches over ssh: test/images/debian.test.ts.
import { rmSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Jobs, withJobs } from '../../support/job-cluster.ts'
import { rightNames } from '../../support/places.ts'
import { sameLines } from '../../support/same-lines.ts'
import { mpiLines, shareOfRow } from './lines.ts'
import { placeMpi } from './prefix.ts'
import { hostsIn, type Launch, launchedIn, launches, rightResults, untilResults } from './results.ts'

t.setTimeout(900_000)

/** Many programs in one job, on a machine that others use. */
const jobMs = 560_000

/** Four ranks of MPICH, which may hang at their end (results.ts). */
const twoANode = [
  { name: 'MPICH by PMI', line: untilResults('srun --mpi=pmi2 mpi/run check.mpich') },
  { name: 'mpiexec.hydra, which asks srun', line: untilResults('mpi/run mpiexec.hydra check.mpich') },
] as const

/** Its end is known, that of Slurm's step is chance. */
const hydraAborts = {
  name: 'mpiexec.hydra, one rank aborts',
  line: 'mpi/run mpiexec.hydra -n 2 -ppn 1 check.mpich abort; [ $? = 3 ]',
}

/** It goes on until it is told, while the daemons that its bytes pass are exchanged. */
const restarted = { name: 'vmrmd restarted meanwhile', line: 'srun --mpi=pmix mpi/run check.openmpi until /tmp/enough' }

/** New daemons on both nodes; then the program, which is in the first VM, hears that it is enough. */
async function restartDaemons(t: Test, { cluster, alice }: Jobs, id: number): Promise<void> {
  for (const node of ['n1', 'n2']) await cluster.daemon('restart', node, 'vmrmd')
  t.match(await alice(['vmrm', 'exec', String(id), '--', 'touch', '/tmp/enough']), { exitCode: 0 })
}

const scriptOf = (lines: readonly Launch[]): string => `#!/bin/bash\ncd /home/alice\n${launches(lines)}`

const shape = ['--nodes=2', '--nodelist=n1,n2', '--ntasks=4', '--ntasks-per-node=2', '--mem=700', '--time=15']
const inVms = ['--vm-image=tiny']

async function withMpi(t: Parameters<typeof withJobs>[0], work: (jobs: Jobs) => Promise<void>): Promise<void> {
  const withPrograms = async (jobs: Jobs) => {
    await placeMpi(jobs.home('mpi'))
    try {
      await work(jobs)
    } finally {
      rmSync(jobs.home('mpi'), { recursive: true })
    }
  }
  await withJobs(t, 'mpi', withPrograms, ['--accounting'])
}

await withMpi(t, async (jobs) => {
  await t.test('launched from a script in a VM as from one on a node:', (t) =>
    sameLines(t, jobs, {
      lines: mpiLines,
      program: 'sbatch',
      arguments: shape,
      vm: inVms,
      lineSeconds: 150,
      shareOfRow,
    }),
  )

  await t.test('MPICH with two ranks a node, and a program that outlives vmrmd, have right results', async (t) => {
    const onNodes = (await jobs.run(scriptOf([...twoANode, hydraAborts]), { arguments: shape })).output
    const bare = launchedIn(onNodes)
    const lines = [restarted, ...twoANode]
    const id = await jobs.submit(scriptOf([...lines, hydraAborts]), { arguments: [...shape, ...inVms] })
    await jobs.awaitOutput(id, 'working', jobMs)
    await restartDaemons(t, jobs, id)
    const { output } = await jobs.ended(id, jobMs)
    const found = launchedIn(output)
    const right = { results: rightResults([0, 0, 1, 1]), outcome: 'fine' }
    for (const { name } of lines) t.strictSame(found[name], right, `${name}\n${output}`)
    for (const { name } of twoANode) t.strictSame(bare[name], right, `${name} on bare nodes`)
    rightNames(t, 'vm', hostsIn(output), 'every rank')
    rightNames(t, 'plain', hostsIn(onNodes), 'every rank')
  })

  await t.test(
    'with two VMs a node, ranks that Slurm counts as neighbours reach each other; other types are refused',
    async (t) => {
      const lines = [
        untilResults('srun -n2 --mpi=pmi2 mpi/run check.mpich'),
        'srun --mpi=pmix mpi/run check.openmpi',
        'srun --mpi=cray_shasta true',
      ] as const
      const text = scriptOf(lines.map((line) => ({ name: line, line })))
      const split = ['--nodes=1', '--ntasks=4', '--mem=1400', '--vm-image=tiny', '--vm-script=host', '--vm-per-node=2']
      const job = await jobs.run(text, { arguments: split })
      const found = launchedIn(job.output)
      rightNames(t, 'vm', hostsIn(job.output), 'every rank')
      t.strictSame(found[lines[0]], { results: rightResults([0, 1]), outcome: 'fine' }, job.output)
      t.strictSame(found[lines[1]], { results: rightResults([0, 0, 1, 1]), outcome: 'fine' }, job.output)
      t.match(job.output, '\n-> 65\n')
      t.match(job.output, 'vmrm: --mpi=cray_shasta does not work in VMs; --mpi=pmi2, --mpi=pmix and --mpi=none do\n')
    },
  )
})

// Real MPI programs by `srun --mpi=…`, `mpirun` and `mpiexec.hydra` in the VMs of two nodes, and the same script on the bare nodes: same results,
// same outcome. Open MPI and MPICH come from a folder in the home (prefix.ts), so that the small image does.
import { rmSync } from 'node:fs'
import t from 'tap'
import { type Jobs, withJobs } from '../../support/job-cluster.ts'
import { placeMpi } from './prefix.ts'

t.setTimeout(900_000)

/** Many programs in one job, on a machine that others use. */
const jobMs = 400_000

/**
 * Each step, and how srun ends; whom a failed one kills first is chance. `check` prints a line of JSON, and fails where a result is wrong.
 * MPICH has one rank a node: with more, on bare nodes too, MPI_Finalize of Debian's 4.0.2 hangs when the machine is busy, since ranks that wait in
 * PMI's barrier no longer serve others that still disconnect (pmodels/mpich pull request 6596).
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
/** Their results alone are looked at, as MPI_Finalize may hang here too. */
const hydra = 'timeout 60 mpi/run mpiexec.hydra -n 2 -ppn 1'
const onlyInVms = [
  { name: 'mpirun over ssh', line: openMpiOverSsh },
  { name: 'mpiexec.hydra, which asks srun', line: `${hydra} check.mpich` },
  { name: 'mpiexec.hydra over ssh', line: `${hydra} -bootstrap ssh -f $VMRM_MACHINEFILE check.mpich` },
] as const

/** More ranks than CPUs: the libraries must not spin while they wait. */
const scriptOf = (lines: readonly { name: string; line: string }[]): string => `#!/bin/bash
cd /home/alice
export OMPI_MCA_mpi_yield_when_idle=1
${lines.map(({ name, line }) => `echo '== ${name}'\n${line}\necho "-> $?"`).join('\n')}
`

interface Checked {
  readonly size: number
  readonly ring: number
  readonly sums: number
  readonly heat: number
  readonly hosts: readonly string[]
}

/** What each step printed: its results, with hosts numbered in the order they appear, and how it ended. */
function resultsOf(output: string): Record<string, { results: readonly unknown[]; outcome: 'fine' | 'failed' }> {
  const parts = output.split(/^== /m).slice(1)
  return Object.fromEntries(
    parts.map((part) => {
      const [name = '', ...lines] = part.split('\n')
      const results = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Checked)
      const numbered = results.map((one) => {
        const names = [...new Set(one.hosts)]
        return { ...one, hosts: one.hosts.map((host) => names.indexOf(host)) }
      })
      return [name, { results: numbered, outcome: /^-> 0$/m.test(part) ? 'fine' : 'failed' }]
    }),
  )
}

const shape = ['--nodes=2', '--ntasks=4', '--ntasks-per-node=2', '--mem=700']
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
      const bare = resultsOf((await jobs.run(scriptOf(steps), { arguments: shape })).output)
      const job = await jobs.ended(await jobs.submit(scriptOf([...steps, ...onlyInVms]), { arguments: inVms }), jobMs)
      const found = resultsOf(job.output)
      const mpichResults = [{ size: 2, ring: 1, sums: 1, heat: 1, hosts: [0, 1] }]
      const openMpiResults = [{ size: 4, ring: 1, sums: 1, heat: 1, hosts: [0, 0, 1, 1] }]
      for (const { name, line, outcome } of steps) {
        const results = line.includes('mpich') ? mpichResults : openMpiResults
        t.strictSame(found[name], { results: outcome === 'fine' ? results : [], outcome }, `${name}\n${job.output}`)
        t.strictSame(found[name], bare[name], `${name} on bare nodes`)
      }
      for (const { name, line } of onlyInVms) {
        const results = line.includes('mpich') ? mpichResults : openMpiResults
        t.strictSame(found[name]?.results, results, `${name}\n${job.output}`)
      }
      t.equal(found[onlyInVms[0].name]?.outcome, 'fine')
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
      const found = resultsOf(job.output)
      t.match(found[lines[0]], { results: [{ ring: 1, sums: 1, heat: 1, hosts: [0, 1] }], outcome: 'fine' }, job.output)
      t.match(
        found[lines[1]],
        { results: [{ ring: 1, sums: 1, heat: 1, hosts: [0, 0, 1, 1] }], outcome: 'fine' },
        job.output,
      )
      t.match(job.output, '\n-> 65\n')
      t.match(job.output, 'vmrm: --mpi=cray_shasta does not work in VMs; --mpi=pmi2, --mpi=pmix and --mpi=none do\n')
    },
  )
})

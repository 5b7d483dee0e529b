// The stock distribution through the real cluster: a Debian that knows nothing of vmrm boots with the seed and is a VM of
// its job like any other, with its own MPI libraries over both nodes. One job; everything is looked at in it.
import { copyFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { placeMpi } from '../transparent/mpi/prefix.ts'
import { launchedIn, launches, rightResults, untilResults } from '../transparent/mpi/results.ts'

t.setTimeout(600_000)

/** Boots of a whole distribution, twice at a time under emulation, on a machine that others use. */
const jobMs = 420_000

const mpi = [
  { name: 'Open MPI by PMIx', line: 'srun --mpi=pmix mpi/check.openmpi' },
  { name: 'mpirun, which asks srun', line: 'mpirun mpi/check.openmpi' },
  {
    name: 'mpirun over ssh',
    line: 'mpirun --mca plm rsh --mca ras ^slurm --hostfile $VMRM_HOSTFILE mpi/check.openmpi',
  },
  { name: 'MPICH by PMI', line: untilResults('srun --mpi=pmi2 mpi/check.mpich') },
  { name: 'mpiexec.hydra, which asks srun', line: untilResults('mpiexec.hydra mpi/check.mpich') },
  {
    name: 'mpiexec.hydra over ssh',
    line: untilResults('mpiexec.hydra -bootstrap ssh -f $VMRM_MACHINEFILE mpi/check.mpich'),
  },
]

/** What is looked at when the whole boot is over. */
const atLast = 'cloud-init status >/dev/null 2>&1; echo cloud-init-code $?; echo host-lines $(cat /etc/hosts)'
const oneEach = '--label --nodes=2 --ntasks=2 --ntasks-per-node=1'

const script = `#!/bin/bash
cd /home/alice
PEERS='n1 n2' srun ${oneEach} sh inside.sh && srun ${oneEach} sh -c '${atLast}'
echo "-> $?"
exec 2>&1
${launches(mpi)}`

/** `0: hostname debian-0001` and so on: facts by task. */
function factsByTask(text: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const tasks = new Map<string, Map<string, string>>()
  for (const [, task = '', name = '', value = ''] of text.matchAll(/^(\d+): (\S+) ?(.*)$/gm)) {
    const facts = tasks.get(task) ?? new Map<string, string>()
    tasks.set(task, facts.set(name, value))
  }
  return tasks
}

/** What the job needs in alice's home: the facts' script, the seed's text to check, and the MPI programs. */
async function prepare({ home }: Jobs): Promise<void> {
  copyFileSync(join(import.meta.dirname, 'debian/inside.sh'), home('inside.sh'))
  copyFileSync(join(import.meta.dirname, '../../lib/guest/seed/user-data'), home('user-data'))
  await placeMpi(home('mpi'))
}

t.test('a Debian with the agent on the seed runs a job on two nodes', async (t) => {
  await withJobs(t, 'debian', async (jobs) => {
    await prepare(jobs)
    const size = ['--nodes=2', '--ntasks-per-node=2', '--mem=1100', '--time=9']
    const id = await jobs.submit(script, {
      arguments: [...size, '--vm-image=debian', '--error=/home/alice/errors'],
    })
    const run = await jobs.ended(id, jobMs)
    rmSync(jobs.home('mpi'), { recursive: true })
    t.match(run.output, '-> 0\n== ')
    t.equal(readFileSync(jobs.home('errors'), 'utf8'), '', 'nobody complains')
    const launched = launchedIn(run.output)
    for (const { name } of mpi)
      t.strictSame(launched[name], { results: rightResults([0, 0, 1, 1]), outcome: 'fine' }, `${name}\n${run.output}`)
    const tasks = factsByTask(run.output)
    t.same([...tasks.keys()].sort(), ['0', '1'])
    // By task, which is by node: whose lines come first is chance.
    const both = ['0', '1'].map((task) => tasks.get(task) ?? new Map<string, string>())
    const each = (name: string) => both.map((facts) => facts.get(name) ?? '')
    const now = Date.now() / 1000

    const names = each('hostname')
    t.equal(new Set(names).size, 2, 'each has a name of its own')
    for (const name of names) t.match(name, /^debian-\d{4}$/)
    t.same(each('static-hostname'), names, 'cloud-init leaves the name alone')
    t.same(each('end-hostname'), names, 'to the end of the boot')
    t.equal(new Set(each('machine-id')).size, 2, 'each has a machine-id of its own')
    for (const facts of both) {
      const fact = (name: string) => facts.get(name) ?? ''
      t.equal(fact('os'), 'debian 12')
      t.match(fact('kernel'), /-cloud-amd64$/, "Debian's own kernel")
      t.match(fact('id'), /^uid=\d+\(alice\) gid=\d+\(alice\)/)
      t.equal(fact('home'), '/home/alice nfs')
      t.match(fact('mount-flags'), /^nfs4 /)
      t.match(fact('machine-id'), /^[0-9a-f]{32}$/)
      t.ok(Math.abs(Number(fact('clock')) - now) < jobMs / 1000, `the clock is right: ${fact('clock')}`)
      t.match(fact('cgroup'), /^0::\/system\.slice\/vmrm-agent\.service\/./, "a task is below the agent's own unit")
      t.match(fact('mpi'), /^mpirun\.openmpi .* HYDRA build \/usr\/bin\/orterun$/)
      t.equal(fact('seed'), 'Valid cloud-config: user-data', 'cloud-init has no word against the seed')
      t.equal(fact('cloud-init-code'), '0', fact('cloud-init'))
      t.match(fact('cloud-init'), /^[. ]*status: done .*DataSourceNoCloud \[seed=\/dev\/vdb\]/)
      t.equal(fact('system'), 'running', fact('failed-units'))
      t.equal(fact('failed-units'), '')
      t.match(fact('agent-unit'), /ActiveState=active/)
      t.match(fact('agent-unit'), /Delegate=yes/)
      t.match(fact('agent-unit'), /NRestarts=0/)
      t.match(fact('agent-unit'), /KillMode=process/, 'a restart of the agent leaves its tasks alone')
      t.equal(fact('cpus'), '2', "the VM has the job's CPUs of the node")
      t.equal(fact('hosts'), '2', "vmrm's block in /etc/hosts is there, and once: its two marks")
      t.equal(
        fact('host-lines').split(' # vmrm: begin')[0],
        '127.0.0.1 localhost ::1 localhost ip6-localhost',
        'the lines of the master stay',
      )
      for (const [at, node] of ['n1', 'n2'].entries())
        t.match(
          fact('host-lines'),
          new RegExp(`\\b(\\d+\\.){3}\\d+ ${names[at]} ${node}\\b`),
          'cloud-init leaves the names of the VMs',
        )
      t.equal(fact('host-keys'), '', 'cloud-init makes no host key')
      for (const [at, node] of ['n1', 'n2'].entries()) {
        t.equal(fact(`ping-${node}`), '1', `${node} is reached`)
        t.equal(fact(`ssh-${node}`), names[at], `ssh leads to the VM of ${node}`)
      }
    }
  })
})

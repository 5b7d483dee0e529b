// The stock distribution through the real cluster: a Debian that knows nothing of vmrm boots with the seed and is a VM of
// its job like any other. One job on two nodes; everything is looked at in it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

/** Boots of a whole distribution, twice at a time under emulation, on a machine that others use. */
const jobMs = 420_000

/** `0: hostname debian-0001` and so on: facts by task. */
function factsByTask(text: string): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const tasks = new Map<string, Map<string, string>>()
  for (const [, task = '', name = '', value = ''] of text.matchAll(/^(\d+): (\S+) ?(.*)$/gm)) {
    const facts = tasks.get(task) ?? new Map<string, string>()
    tasks.set(task, facts.set(name, value))
  }
  return tasks
}

t.test('a Debian with the agent on the seed runs a job on two nodes', async (t) => {
  const inside = readFileSync(join(import.meta.dirname, 'debian/inside.sh'), 'utf8')
  await withJobs(t, 'debian', async ({ alice }) => {
    const peers = { environment: { PEERS: 'n1 n2' }, timeoutMs: jobMs }
    const size = ['-N2', '-n2', '--mem=900', '--time=9']
    const run = await alice(['srun', '--label', ...size, '--vm-image=debian', 'sh', '-c', inside], peers)
    t.equal(run.exitCode, 0, run.stderr)
    t.equal(run.stderr, '', 'nobody complains')
    const tasks = factsByTask(run.stdout)
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
      t.match(fact('cloud-init'), /^[. ]*status: done .*DataSourceNoCloud \[seed=\/dev\/vdb\]/)
      t.equal(fact('system'), 'running', fact('failed-units'))
      t.equal(fact('failed-units'), '')
      t.match(fact('agent-unit'), /ActiveState=active/)
      t.match(fact('agent-unit'), /Delegate=yes/)
      t.match(fact('agent-unit'), /NRestarts=0/)
      t.not(fact('hosts'), '0', 'cloud-init leaves /etc/hosts alone')
      t.equal(fact('host-keys'), '', 'cloud-init makes no host key')
      for (const [at, node] of ['n1', 'n2'].entries()) {
        t.equal(fact(`ping-${node}`), '1', `${node} is reached`)
        t.equal(fact(`ssh-${node}`), names[at], `ssh leads to the VM of ${node}`)
      }
    }
  })
})

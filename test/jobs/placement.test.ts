// Where the tasks of a job run and how large its VMs are: nodes, several VMs a node, --multi-prog, --vm-script=host, arrays,
// heterogeneous jobs. As many facts as possible come from each VM.
import { writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { type Jobs, withJobs } from '../support/job-cluster.ts'

t.setTimeout(600_000)

/** One line a task: rank, node by Slurm, VM by its own name, CPUs and MiB that it sees. */
const whereAmI = `#!/bin/bash
read -r _ memory _ < <(grep MemTotal /proc/meminfo)
echo "$SLURM_PROCID $SLURMD_NODENAME $(hostname) $(nproc --all) $((memory / 1024))"
`

interface Place {
  readonly rank: number
  readonly node: string
  readonly vm: string
  readonly cpus: number
  readonly memoryMib: number
}

function placesOf(text: string): Place[] {
  const lines = [...text.matchAll(/^(\d+) (n\d) (\S+) (\d+) (\d+)$/gm)]
  return lines
    .map(([, rank, node = '', vm = '', cpus, memory]) => ({
      rank: Number(rank),
      node,
      vm,
      cpus: Number(cpus),
      memoryMib: Number(memory),
    }))
    .sort((a, b) => a.rank - b.rank)
}

/** Node and number of each rank's VM, the VMs of a node numbered in the order of their ranks. */
function layoutOf(places: readonly Place[]): string[] {
  const vms = [...new Set(places.map(({ vm }) => vm))]
  const ofNode = (node: string) => vms.filter((vm) => places.some((place) => place.vm === vm && place.node === node))
  return places.map(({ node, vm }) => `${node}:${ofNode(node).indexOf(vm)}`)
}

/** The rule: local task i of n runs in VM floor(i * K / n) of its node. */
function wantedLayout(tasksOfNodes: Readonly<Record<string, number>>, perNode: number): string[] {
  return Object.entries(tasksOfNodes).flatMap(([node, count]) =>
    Array.from({ length: count }, (_, i) => `${node}:${Math.floor((i * perNode) / count)}`),
  )
}

const multiProg = "0 echo first %t %o\n1-3 sh -c 'echo $SLURM_PROCID in $(hostname)'\n*  sh -c 'exit 3'\n"

async function twoNodes(t: Test, jobs: Jobs): Promise<void> {
  writeFileSync(jobs.home('programs'), multiProg)
  const steps = [
    'srun -n5 -m plane=4 ./where-am-i',
    'echo ==',
    'srun -n4 --ntasks-per-node=2 ./where-am-i',
    'echo ==',
    'srun -n4 --multi-prog programs',
    'echo ==',
    'srun -n6 --ntasks-per-node=3 sh -c true && srun -n1 -N1 hostname',
  ]
  const argv = ['salloc', '-N2', '-n8', '--ntasks-per-node=4', '--mem=900', '--vm-image=tiny', '--vm-per-node=2']
  const found = await jobs.alice([...argv, 'bash', '-c', steps.join('\n')])
  t.equal(found.exitCode, 0, found.stderr)
  const [plane = '', even = '', programs = '', last = ''] = found.stdout.split('==\n')
  const places = placesOf(plane)
  t.same(layoutOf(places), wantedLayout({ n1: 4, n2: 1 }, 2), 'tasks are spread over the VMs of their node')
  t.same(layoutOf(placesOf(even)), wantedLayout({ n1: 2, n2: 2 }, 2))
  t.equal(new Set([...places, ...placesOf(even)].map(({ vm }) => vm)).size, 4, 'two VMs on each of two nodes')
  // Of 4 CPUs and 900 MiB a node, each of two VMs has half, less the overhead of a VM.
  for (const { cpus, memoryMib } of places) {
    t.equal(cpus, 2)
    t.ok(memoryMib > 150 && memoryMib < 450, `${memoryMib} MiB`)
  }
  t.match(programs, /^first 0 0$/m, '--multi-prog: the program of the first rank')
  for (const rank of [1, 2, 3]) t.match(programs, new RegExp(`^${rank} in tiny-\\d{4}$`, 'm'))
  t.match(last, /^tiny-\d{4}\n$/)
}

async function fromOutside(t: Test, jobs: Jobs): Promise<void> {
  const found = await jobs.alice([
    'srun',
    '-N2',
    '--ntasks-per-node=2',
    '-c2',
    '--mem=700',
    '--vm-image=tiny',
    './where-am-i',
  ])
  t.equal(found.exitCode, 0, found.stderr)
  const places = placesOf(found.stdout)
  t.same(layoutOf(places), ['n1:0', 'n1:0', 'n2:0', 'n2:0'])
  t.equal(new Set(places.map(({ vm }) => vm)).size, 2)
  for (const { cpus, memoryMib } of places) {
    t.equal(cpus, 4, 'two tasks of two CPUs each')
    t.ok(memoryMib > 400 && memoryMib < 700, `${memoryMib} MiB`)
  }
}

async function threeCpus(t: Test, jobs: Jobs): Promise<void> {
  const job = await jobs.run(whereAmI, { arguments: ['-c3', '--mem=700', '--vm-image=tiny'] })
  t.match(job.fields, { JobState: 'COMPLETED' })
  const [place] = placesOf(job.output)
  t.equal(place?.cpus, 3)
  t.ok((place?.memoryMib ?? 0) > 400 && (place?.memoryMib ?? 0) < 700, `${place?.memoryMib} MiB of 700`)
}

async function scriptOnHost(t: Test, jobs: Jobs): Promise<void> {
  const script = '#!/bin/sh\nhostname\nsrun hostname\nsrun sh -c "exit 6"\necho "srun $?"\n'
  const job = await jobs.run(script, { arguments: ['--vm-image=tiny', '--vm-script=host', '--nodelist=n2'] })
  t.match(job.output, /^n2\ntiny-\d{4}\n(.*\n)*srun 6\n$/, 'the script runs on its node, its steps in the VM')
  t.match(job.fields, { JobState: 'COMPLETED', ExitCode: '0:0', DerivedExitCode: '6:0' })
}

async function array(t: Test, jobs: Jobs): Promise<void> {
  const script =
    '#!/bin/sh\necho "$SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT on $(hostname)"\nexit $SLURM_ARRAY_TASK_ID\n'
  const argv = ['--wait', '--array=0-2', '--vm-image=tiny', '--output=/home/alice/array-%a.out']
  const found = await jobs.alice(['sbatch', ...argv], { input: script })
  t.equal(found.exitCode, 2, 'the highest exit code of its tasks')
  const lines = (await jobs.alice(['sh', '-c', 'cat array-*.out'])).stdout.trim().split('\n')
  t.same(
    lines.map((line) => line.replace(/tiny-\d{4}/, 'VM')),
    ['0', '1', '2'].map((task) => `${task} of 3 on VM`),
  )
  t.equal(new Set(lines.map((line) => line.split(' ').at(-1))).size, 3, 'each task has a VM of its own')
}

async function heterogeneous(t: Test, jobs: Jobs): Promise<void> {
  const step = `echo "$SLURM_PROCID $SLURMD_NODENAME $(hostname)"`
  const same = ['salloc', '-n1', '--nodelist=n1', '--vm-image=tiny', ':', '-n1', '--nodelist=n2']
  const found = await jobs.alice([...same, 'srun', '--het-group=0,1', 'sh', '-c', step])
  t.match(found.stdout.split('\n').sort().join('\n'), /^\n0 n1 tiny-\d{4}\n1 n2 tiny-\d{4}$/, found.stderr)
  t.equal(found.exitCode, 0)
  const different = ['salloc', '-n1', '--vm-image=tiny', ':', '-n1', '--vm-image=none', 'true']
  t.match(await jobs.alice(different), {
    exitCode: 1,
    stderr: 'all components of a heterogeneous job must have the same --vm options',
  })
}

t.test('placement', (t) =>
  withJobs(t, 'placement', async (jobs) => {
    const facts = {
      'two VMs on each of two nodes take the tasks in blocks, also of --multi-prog': twoNodes,
      'srun from outside has one VM on each node by default': fromOutside,
      'three CPUs and 700 MiB make such a VM': threeCpus,
      '--vm-script=host leaves the script on its node': scriptOnHost,
      'each task of an array has a VM of its own': array,
      'a heterogeneous job has VMs for all components': heterogeneous,
    }
    writeFileSync(jobs.home('where-am-i'), whereAmI, { mode: 0o755 })
    for (const [name, check] of Object.entries(facts)) await t.test(name, (t) => check(t, jobs))
  }),
)

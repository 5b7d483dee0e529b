// The limits of a job hold on the host whatever its guest does, and a size that cannot be is refused in the job's own output.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hierarchies } from '../cluster/cgroups.ts'
import { type EndedJob, type Jobs, withJobs } from '../support/job-cluster.ts'
import { until } from '../support/until.ts'

t.setTimeout(600_000)

/** `change` makes of a held job what the rules at submission would have refused: the size is checked again when the job starts. */
const refused: readonly { name: string; change: readonly string[]; arguments?: readonly string[]; says: RegExp }[] = [
  {
    name: 'too little memory',
    change: ['MinMemoryNode=150'],
    says: /vmrm: the job has 150 MiB on node n\d: 22 MiB is left for each of 1 VMs after 128 MiB overhead a VM; image tiny needs at least 96 MiB/,
  },
  {
    name: 'fewer CPUs than VMs',
    change: ['NumCPUs=1', 'MinCPUsNode=1', 'NumTasks=1'],
    arguments: ['-n2', '--vm-per-node=2'],
    says: /vmrm: the job has 1 CPUs on node n\d; 2 VMs need at least one each/,
  },
  {
    name: 'more memory than the image allows',
    change: ['MinMemoryNode=5000'],
    says: /vmrm: the job has 5000 MiB on node n\d: a VM would have 4872 MiB; image tiny allows 4096 MiB/,
  },
  {
    name: 'less memory than the VMs of a node need together',
    change: ['MinMemoryNode=400'],
    arguments: ['-n2', '--vm-per-node=2'],
    says: /vmrm: the job has 400 MiB on node n\d: 72 MiB is left for each of 2 VMs/,
  },
]

async function playRefused(jobs: Jobs, each: (typeof refused)[number]): Promise<EndedJob> {
  const argv = ['--vm-image=tiny', '--hold', '--nodes=1', '--mem=900', ...(each.arguments ?? [])]
  const id = await jobs.submit('#!/bin/sh\necho ran\n', { arguments: argv })
  const changed = await jobs.cluster.run(['scontrol', 'update', `JobId=${id}`, ...each.change])
  if (changed.exitCode !== 0) throw new Error(changed.stderr)
  await jobs.cluster.run(['scontrol', 'release', String(id)])
  return jobs.ended(id)
}

/** Files of the run's cgroup in whichever hierarchy has them. */
function cgroupFile(jobs: Jobs, node: string, id: number, name: string): string | undefined {
  for (const { mountPoint } of hierarchies()) {
    const path = join(mountPoint, jobs.cluster.layout.cgroup, node, 'vmrm', `j${id}r0`, name)
    if (existsSync(path)) return readFileSync(path, 'utf8').trim()
  }
  return undefined
}

/** The first of several names: cgroup v1's and v2's. */
function read(jobs: Jobs, id: number, ...names: string[]): string {
  const found = names.map((name) => cgroupFile(jobs, 'n1', id, name)).find((text) => text !== undefined)
  if (found === undefined) throw new Error(`the cgroup of job ${id} has none of ${names.join(', ')}`)
  return found
}

/** Eats memory until the guest's kernel ends it, then makes many processes and threads, then says so and waits. */
const greedy = `#!/bin/bash
trap 'exit 4' ALRM
tail /dev/zero
echo "the eater ended with $?"
for i in $(seq 400); do sleep 1000 & done
echo "$(jobs -pr | wc -l) processes"
while :; do sleep 0.2; done
`

t.test('limits', (t) =>
  withJobs(t, 'limits', async (jobs) => {
    const ended = Promise.all(refused.map((each) => playRefused(jobs, each)))
    for (const [index, { name, says }] of refused.entries()) {
      await t.test(`${name} is refused in the job's own output`, async (t) => {
        const job = (await ended)[index]
        t.match(job?.output, says)
        t.notMatch(job?.output, /^ran$/m)
        t.match(job?.fields, { JobState: 'FAILED' })
      })
    }
    await t.test('what can be seen at submission is refused there', async (t) => {
      const before = await jobs.alice(['sbatch', '--vm-image=tiny', '--mem=150', '--wrap=true'])
      t.match(before, {
        exitCode: 1,
        stderr: 'vmrm: a VM of the job would have 22 MiB, and image tiny needs 96: ask for at least 224 MiB',
      })
    })
    const nodes = await jobs.cluster.run(['sinfo', '--noheader', '--partition=main', '--format=%T'])
    t.notMatch(nodes.stdout, /drain|down/, 'no node drains')
    const tooMany = await jobs.alice(['sbatch', '--vm-image=tiny', '--vm-per-node=17', '--wrap=true'])
    t.match(tooMany, { exitCode: 1, stderr: /vmrm:.*tiny.* 16 / }, 'more VMs a node than the image allows')

    await t.test('a greedy guest stays within its job on the host', async (t) => {
      const id = await jobs.submit(greedy, { arguments: ['--vm-image=tiny', '--nodelist=n1', '-c2', '--mem=600'] })
      await jobs.awaitOutput(id, ' processes\n')
      t.match(jobs.output(id), 'the eater ended with 137\n400 processes\n', "the guest's own kernel sees to it")
      const limitBytes = 600 * 1024 * 1024
      t.equal(Number(read(jobs, id, 'memory.limit_in_bytes', 'memory.max')), limitBytes)
      t.ok(Number(read(jobs, id, 'memory.max_usage_in_bytes', 'memory.peak', 'memory.current')) <= limitBytes)
      t.equal(read(jobs, id, 'pids.max'), '256')
      t.ok(Number(read(jobs, id, 'pids.current')) < 100, "the guest's processes are none of the host's")
      t.match(read(jobs, id, 'cpuset.cpus'), /^\d[\d,-]*$/)
      const qemu = read(jobs, id, 'cgroup.procs')
        .split('\n')
        .filter((line) => line !== '')
      t.equal(qemu.length, 1, 'QEMU is in the group')
      const status = readFileSync(`/proc/${qemu[0]}/status`, 'utf8')
      t.match(status, `Cpus_allowed_list:\t${read(jobs, id, 'cpuset.cpus')}\n`, 'and is held to its CPUs')
      await jobs.alice(['scancel', '--signal=ALRM', '--batch', String(id)])
      const job = await jobs.ended(id)
      t.match(job.fields, { JobState: 'FAILED', ExitCode: '4:0' }, 'and the job goes on to its own end')
      await until('the end of its group', () => cgroupFile(jobs, 'n1', id, 'cgroup.procs') === undefined, 60_000)
    })
  }),
)

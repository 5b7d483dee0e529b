import t from 'tap'
import { parseJobDetails, parseJobStates, parseSqueueJson } from '../../lib/slurm/job-details.ts'

const details = (name: string, id = 12) => `JobId=${id} JobName=${name}
   UserId=alice(2001) GroupId=alice(2001) MCS_label=N/A
   NumNodes=3 NumCPUs=5 NumTasks=3 CPUs/Task=1 ReqB:S:C:T=0:0:*:*
   Socks/Node=* NtasksPerN:B:S:C=0:0:*:* CoreSpec=*
   JOB_GRES=(null)
     Nodes=n[1-2] CPU_IDs=0-1 Mem=512 GRES=
     Nodes=n3 CPU_IDs=4 Mem=256 GRES=
   MinCPUsNode=1 MinMemoryCPU=256M MinTmpDiskNode=0
`
const nodes = ['n1', 'n2', 'n3']

t.test('CPUs and memory of each node are read', async (t) => {
  t.same(parseJobDetails(details('job'), 12, nodes), [
    { node: 'n1', cpus: 2, cpuIds: [0, 1], memoryMib: 512, tasks: 2 },
    { node: 'n2', cpus: 2, cpuIds: [0, 1], memoryMib: 512, tasks: 2 },
    { node: 'n3', cpus: 1, cpuIds: [4], memoryMib: 256, tasks: 1 },
  ])
})

t.test('other jobs in the same output do not count', async (t) => {
  const text = `${details('first', 11)}\n${details('mine')}`
  t.equal(parseJobDetails(text, 12, nodes)?.length, 3)
  t.equal(parseJobDetails(text, 13, nodes), undefined)
})

t.test('a job name that looks like an allocation makes the text ambiguous, never believed', async (t) => {
  const fakes = [
    'x\n     Nodes=n1 CPU_IDs=0-63 Mem=999999 GRES=',
    'x Nodes=n9 CPU_IDs=0-63 Mem=999999 GRES=',
    'x\nJobId=12 JobName=y\n     Nodes=n[1-3] CPU_IDs=0-63 Mem=999999 GRES=\n',
    'x\nJobId=99 JobName=y',
  ]
  for (const fake of fakes) t.equal(parseJobDetails(details(fake), 12, nodes), undefined, JSON.stringify(fake))
})

t.test("tasks of each node are what Slurm's own variable says, and a user's line makes them unknown", async (t) => {
  const counts = '   NumNodes=3 NumCPUs=5 NumTasks=4 CPUs/Task=1 ReqB:S:C:T=0:0:*:*'
  const of = (text: string) => parseJobDetails(text, 12, nodes)?.map((entry) => entry.tasks)
  const changed = (from: string, to: string) => details('job').replace(from, to)
  t.same(of(changed('NumTasks=3', 'NumTasks=4')), [2, 1, 1])
  t.same(of(changed('NtasksPerN:B:S:C=0:', 'NtasksPerN:B:S:C=3:')), [3, 3, 3])
  t.same(of(changed('CPUs/Task=1', 'CPUs/Task=2')), [1, 1, 1])
  t.same(of(details(`x\n${counts}`)), [2, 2, 1], 'its CPUs')
})

t.test('squeue --json tells the same without CPU numbers', async (t) => {
  const node = (nodename: string, cores: Record<string, string>, memory: number) => ({
    nodename,
    sockets: { 0: { cores } },
    cpus_used: 0,
    memory_used: 0,
    memory_allocated: memory,
  })
  const allocated_nodes = [node('n1', { 0: 'allocated', 1: 'allocated' }, 512), node('n2', { 3: 'allocated' }, 256)]
  const squeue = (cpus: number) =>
    JSON.stringify({
      jobs: [
        { job_id: 11, cpus: 1, job_resources: {} },
        {
          job_id: 12,
          cpus,
          job_resources: { nodes: 'n[1-2]', allocated_cores: 3, allocated_hosts: 2, allocated_nodes },
        },
      ],
    })
  t.same(parseSqueueJson(squeue(3), 12, ['n1', 'n2']), [
    { node: 'n1', cpus: 2, cpuIds: [], memoryMib: 512, tasks: 2 },
    { node: 'n2', cpus: 1, cpuIds: [], memoryMib: 256, tasks: 1 },
  ])
  t.match(parseSqueueJson(squeue(6), 12, ['n2', 'n1']), [
    { node: 'n2', cpus: 2 },
    { node: 'n1', cpus: 4 },
  ])
  t.throws(() => parseSqueueJson(squeue(3), 11, ['n1']), { code: 'command-failed' })
})

t.test('states of jobs become what a run needs to know', async (t) => {
  const text = '1 RUNNING\n2 PENDING\n3 COMPLETING\n4 COMPLETED\n5 CONFIGURING\n6 NODE_FAIL\n7 SUSPENDED\nnonsense\n'
  t.same(
    [...parseJobStates(text)],
    [
      [1, 'active'],
      [2, 'pending'],
      [3, 'completing'],
      [4, 'ended'],
      [5, 'active'],
      [6, 'ended'],
      [7, 'active'],
    ],
  )
})

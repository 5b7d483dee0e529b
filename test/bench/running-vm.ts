// (c), (d), (e): a second step, a step's output and a waiting task, in a VM that runs already, beside an allocation without
// one on another node.
import { readFileSync } from 'node:fs'
import { hostNamed } from '../cluster/layout.ts'
import { runningHosts } from '../cluster/namespaces.ts'
import { commandLineOf, membersOfPidNamespace, namespaceOf } from '../cluster/procfs.ts'
import { waitFor } from '../cluster/wait.ts'
import type { Cluster } from '../support/cluster.ts'
import { type PlainAndVm, benchUser as user, withPlainAndVm } from './allocation.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'
import { timeCommand } from './timed-command.ts'

const timeoutMs = 180_000
const streamMib = 64
const stepGoalMs = 50
const memoryGoalMib = 2

type Srun = (job: string, ...argv: string[]) => ReturnType<typeof timeCommand>

async function measureSteps(jobs: PlainAndVm, srun: Srun, { runs, say }: BenchOptions): Promise<Metric> {
  const [plainMs, vmMs]: [number[], number[]] = [[], []]
  // Steps are short: more of them cost little and say more. The first of each is not counted: it loads what later ones find.
  for (let run = -1; run < runs * 2; run++) {
    const plain = await srun(jobs.plain, '/bin/true')
    const vm = await srun(jobs.vm, '/bin/true')
    if (run < 0) continue
    plainMs.push(plain.endMs)
    vmMs.push(vm.endMs)
  }
  const [value, baseline] = [median(vmMs), median(plainMs)]
  say(`a second step: plain ${Math.round(baseline)} ms, VM ${Math.round(value)} ms`)
  const goal = { bound: 'at-most', value: baseline + stepGoalMs } as const
  return judge({ name: 'a second step in a running VM', unit: 'ms', value, baseline, goal })
}

async function measureOutput(jobs: PlainAndVm, srun: Srun, { runs, say }: BenchOptions): Promise<Metric> {
  const [plain, vm]: [number[], number[]] = [[], []]
  const rate = async (job: string): Promise<number> => {
    const stream = await srun(job, 'head', '-c', `${streamMib}M`, '/dev/zero')
    if (stream.bytes !== streamMib << 20) throw new Error(`${stream.bytes} bytes of ${streamMib} MiB arrived`)
    return stream.streamBytes / (1 << 20) / (stream.streamMs / 1000)
  }
  for (let run = 0; run < runs; run++) {
    plain.push(await rate(jobs.plain))
    vm.push(await rate(jobs.vm))
    say(
      `output ${run + 1}/${runs}: plain ${Math.round(plain.at(-1) ?? 0)} MiB/s, VM ${Math.round(vm.at(-1) ?? 0)} MiB/s`,
    )
  }
  const baseline = median(plain)
  const goal = { bound: 'at-least', value: baseline / 2 } as const
  return judge({ name: 'stdout of a task in a VM', unit: 'MiB/s', value: median(vm), baseline, goal })
}

/** The vmrm-run processes of a node. */
function tasksOn(cluster: Cluster, node: string): number[] {
  const init = runningHosts(cluster.layout).get(node)?.init.pid ?? 0
  const space = namespaceOf(init, 'pid')
  const members = space === undefined ? [] : membersOfPidNamespace(space)
  return members.filter((pid) => commandLineOf(pid)[0]?.endsWith('/vmrm-run') === true)
}

function memoryMib(pid: number, kind: 'Rss' | 'Pss'): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8')
  return Number(new RegExp(`^${kind}: +(\\d+) kB`, 'm').exec(text)?.[1] ?? Number.NaN) / 1024
}

async function measureMemory(cluster: Cluster, jobs: PlainAndVm, { runs, signal }: BenchOptions): Promise<Metric[]> {
  const node = hostNamed(cluster.layout, 'n1').name
  const step = cluster.start(['srun', `--jobid=${jobs.vm}`, 'sh', '-c', 'echo up; exec sleep 600'], { user })
  try {
    let isUp = false
    step.stdout?.once('data', () => {
      isUp = true
    })
    const started = await waitFor(() => isUp, { timeoutMs })
    const [pid] = tasksOn(cluster, node)
    if (!started || pid === undefined) throw new Error('no vmrm-run waits')
    const [rss, pss]: [number[], number[]] = [[], []]
    for (let run = 0; run < runs; run++) {
      signal.throwIfAborted()
      rss.push(memoryMib(pid, 'Rss'))
      pss.push(memoryMib(pid, 'Pss'))
    }
    const goal = { bound: 'at-most', value: memoryGoalMib } as const
    return [
      judge({ name: 'memory of a waiting vmrm-run (RSS)', unit: 'MiB', value: median(rss), goal }),
      judge({ name: 'memory of a waiting vmrm-run (PSS)', unit: 'MiB', value: median(pss) }),
    ]
  } finally {
    step.kill('SIGKILL')
  }
}

export async function measureRunningVm(cluster: Cluster, options: BenchOptions): Promise<Metric[]> {
  const { signal } = options
  const srun: Srun = (job, ...argv) =>
    timeCommand(cluster, { argv: ['srun', `--jobid=${job}`, ...argv], user, timeoutMs, signal })
  return withPlainAndVm(cluster, async (jobs) => {
    const steps = await measureSteps(jobs, srun, options)
    const output = await measureOutput(jobs, srun, options)
    return [steps, output, ...(await measureMemory(cluster, jobs, options))]
  })
}

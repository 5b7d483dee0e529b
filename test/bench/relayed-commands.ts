// Slurm's commands from inside a VM beside the same on a bare node: how long each takes, how many steps a script starts in a
// given time, and how fast a step's output comes back. Loops run within one step, so that its own start does not count.
import type { Cluster } from '../support/cluster.ts'
import { type PlainAndVm, benchUser as user, withPlainAndVm } from './allocation.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'
import { timeCommand } from './timed-command.ts'

const timeoutMs = 300_000
const commandGoalMs = 30
const stepRateGoal = 1.5
const commandsARun = 20
const stepsARun = 100
const outputMib = 16

/** From the first byte that the script prints to its last: only what lies between is measured. */
type Script = (job: string, script: string) => Promise<number>

const repeated = (count: number, command: string): string =>
  `echo begin; i=0; while [ $i -lt ${count} ]; do ${command} || exit 1; i=$((i+1)); done; echo end`

/** Milliseconds of one of `count`, in each job, in turn. */
async function inTurn(jobs: PlainAndVm, script: Script, count: number, command: string, runs: number) {
  const [plain, vm]: [number[], number[]] = [[], []]
  // The first of each fills caches, and is not counted.
  await script(jobs.plain, repeated(2, command))
  await script(jobs.vm, repeated(2, command))
  for (let run = 0; run < runs; run++) {
    plain.push((await script(jobs.plain, repeated(count, command))) / count)
    vm.push((await script(jobs.vm, repeated(count, command))) / count)
  }
  return { plain: median(plain), vm: median(vm) }
}

async function measureLatency(jobs: PlainAndVm, script: Script, { runs, say }: BenchOptions): Promise<Metric[]> {
  const metrics: Metric[] = []
  const commands = [
    ['squeue', 'squeue --noheader >/dev/null'],
    ['scontrol show job', 'scontrol show job $SLURM_JOB_ID >/dev/null'],
    ['sinfo', 'sinfo --noheader >/dev/null'],
  ] as const
  for (const [name, command] of commands) {
    const { plain, vm } = await inTurn(jobs, script, commandsARun, command, runs)
    say(`${name}: plain ${plain.toFixed(1)} ms, from a VM ${vm.toFixed(1)} ms`)
    const goal = { bound: 'at-most', value: plain + commandGoalMs } as const
    metrics.push(judge({ name: `${name} from inside a VM`, unit: 'ms', value: vm, baseline: plain, goal }))
  }
  const bare = await inTurn(jobs, script, commandsARun, '/bin/cat </dev/null', runs)
  metrics.push(
    judge({ name: 'for comparison: a program of the guest itself', unit: 'ms', value: bare.vm, baseline: bare.plain }),
  )
  return metrics
}

async function measureStepRate(jobs: PlainAndVm, script: Script, { runs, say }: BenchOptions): Promise<Metric[]> {
  const { plain, vm } = await inTurn(jobs, script, stepsARun, 'srun --overlap -n1 /bin/true', Math.min(runs, 3))
  say(`${stepsARun} steps from a script: plain ${Math.round(plain)} ms each, in a VM ${Math.round(vm)} ms each`)
  const name = `${stepsARun} short steps from a script in a VM, each`
  const goal = { bound: 'at-most', value: plain * stepRateGoal } as const
  return [judge({ name, unit: 'ms', value: vm, baseline: plain, goal })]
}

async function measureOutput(jobs: PlainAndVm, script: Script, { runs, say }: BenchOptions): Promise<Metric[]> {
  const command = `srun --overlap -n1 head -c ${outputMib}M /dev/zero | wc -c | grep -qx ${outputMib << 20}`
  const { plain, vm } = await inTurn(jobs, script, 1, command, runs)
  const rate = (ms: number): number => outputMib / (ms / 1000)
  say(`output of srun: plain ${rate(plain).toFixed(1)} MiB/s, from a VM ${rate(vm).toFixed(1)} MiB/s`)
  return [judge({ name: 'output of srun called in a VM', unit: 'MiB/s', value: rate(vm), baseline: rate(plain) })]
}

export async function measureRelayedCommands(cluster: Cluster, options: BenchOptions): Promise<Metric[]> {
  const { signal } = options
  const script: Script = async (job, text) => {
    const argv = ['srun', `--jobid=${job}`, '--overlap', 'sh', '-c', text]
    const { streamMs, text: printed } = await timeCommand(cluster, { argv, user, timeoutMs, signal })
    if (!printed.endsWith('end\n')) throw new Error(`${text} printed only ${printed}`)
    return streamMs
  }
  return withPlainAndVm(cluster, async (jobs) => {
    const latency = await measureLatency(jobs, script, options)
    const rate = await measureStepRate(jobs, script, options)
    return [...latency, ...rate, ...(await measureOutput(jobs, script, options))]
  })
}

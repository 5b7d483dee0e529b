// `vmrm ps`: runs and their VMs, as the controller's ledger has them. Whose runs one sees is the controller's decision.
import { exitCodeOfFamily } from '../errors/catalogue.ts'
import { parseBatchName } from '../job/run.ts'
import type { ReplyOf } from '../protocol/messages.ts'
import { type Command, readOptions } from './command.ts'
import { withController } from './controller.ts'
import { parseJobId } from './job-id.ts'
import { cleanLine, renderTable } from './table.ts'

type Run = ReplyOf<'list-runs'>['runs'][number]

const usage = 'vmrm ps [--all] [--json] [JOB|BATCH …]'
const head = ['JOB', 'RUN', 'USER', 'IMAGE', 'STATE', 'BEGAN', 'NODE', 'VM', 'HOSTNAME', 'ADDRESS', 'VM-STATE']

export const ps: Command = {
  summary: 'your runs and their VMs (--all: ended ones too)',
  usage,
  help: `Lists the runs of your jobs in VMs, one line a VM; root and SlurmUser see everybody's.
  --all    also runs that have ended
  --json   as JSON
  JOB      these jobs only, ended or not; or batches, such as b7, which have no job: an administrator makes them for you
RUN counts how often Slurm restarted the job. BEGAN is in UTC. A reason, and what an ended run used, stand below the run they belong to.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, { all: { type: 'boolean' }, json: { type: 'boolean' } })
    const wanted = new Set(positionals.map((text) => (isBatchName(text) ? text : String(parseJobId(text)))))
    const all = values.all === true || wanted.size > 0
    const { runs } = await withController((controller) => controller.call('list-runs', { all }))
    const shown = wanted.size === 0 ? runs : runs.filter((run) => wanted.has(nameOf(run)))
    process.stdout.write(values.json === true ? `${JSON.stringify(shown, null, 2)}\n` : renderRuns(shown))
    const missing = [...wanted].filter((name) => !shown.some((run) => nameOf(run) === name))
    for (const name of missing) {
      const text = isBatchName(name) ? `there is no batch ${name} that you may see` : noRun(name)
      process.stderr.write(`vmrm: ${text}\n`)
    }
    return missing.length === 0 ? 0 : exitCodeOfFamily.user
  },
}

const isBatchName = (text: string) => parseBatchName(text) !== undefined
const noRun = (job: string) => `job ${job} has no run in VMs that you may see`

/** As people write it: `123`, `b7`. */
export function nameOf({ job, batch }: Pick<Run, 'job' | 'batch'>): string {
  return job === undefined ? `b${batch}` : String(job)
}

/** One line a VM (or a run that has none), and below each run its reason and what it used. */
export function renderRuns(runs: readonly Run[]): string {
  if (runs.length === 0) return 'no runs\n'
  const rows = runs.flatMap((run) => {
    const began = run.began.slice(0, 19).replace('T', ' ')
    const common = [nameOf(run), String(run.restart), run.user, run.image, run.state, began]
    const vms = run.vms.map((vm) => [...common, vm.node, vm.name, vm.hostname, vm.address ?? '', vm.state])
    return vms.length > 0 ? vms : [[...common, '', '', '', '', '']]
  })
  const [title = '', ...lines] = renderTable(head, rows).trimEnd().split('\n')
  let at = 0
  const withReasons = runs.flatMap((run) => {
    const count = Math.max(1, run.vms.length)
    const own = lines.slice(at, at + count)
    at += count
    const name = run.name === undefined ? '' : `batch ${run.name}`
    const notes = [name, ...(run.reason ?? '').trim().split('\n'), usageLine(run)].filter((line) => line !== '')
    return [...own, ...notes.map((line) => `    ${cleanLine(line)}`)]
  })
  return `${[title, ...withReasons].join('\n')}\n`
}

/** Slurm cannot see what a VM uses, since its QEMU is not in the job's own cgroup. */
function usageLine({ peakMemoryMib, cpuTimeMs }: Run): string {
  if (peakMemoryMib === undefined || cpuTimeMs === undefined) return ''
  return `used at most ${peakMemoryMib} MiB on a node and ${(cpuTimeMs / 1000).toFixed(1)} s of CPU time`
}

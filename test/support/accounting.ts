// What Slurm's accounting and controller say of a job once it is over, without what differs between any two jobs.
import type { Jobs } from './job-cluster.ts'
import { until } from './until.ts'

const columns = 'JobID,JobName,Account,State,ExitCode,DerivedExitCode,NTasks,AllocCPUS,AllocTRES,NNodes,NodeList,Layout'
const isLive = /^(PENDING|RUNNING|REQUEUED|RESIZING|SUSPENDED)/

/** A step that srun could not begin (lines give such ones 10 MiB) lives to the job's end; which state it gets there is chance. */
const leftStep = /^([^|]*(?:\|[^|]*){2}\|)(?:FAILED|CANCELLED by \d+)\|[^|]*(?=\|.*\bmem=10M\b)/

/** Rows of sacct of a job, its array tasks or components, and their steps, all ended; ids are words. The cluster must be up with `--accounting`. */
export async function accountOf(jobs: Jobs, id: number): Promise<string[]> {
  const argv = ['sacct', `--jobs=${id}`, '--noheader', '--parsable2', `--format=${columns},End`]
  let rows: string[][] = []
  const areOver = async (): Promise<boolean> => {
    const { stdout } = await jobs.cluster.run(argv)
    rows = stdout.split('\n').flatMap((line) => (line === '' ? [] : [line.split('|')]))
    return rows.length > 0 && rows.every((row) => !isLive.test(row[3] ?? '') && row.at(-1) !== 'Unknown')
  }
  await until(`sacct's end of job ${id}`, areOver, 30_000).catch((cause: unknown) => {
    throw new Error(`sacct says of job ${id}: ${JSON.stringify(rows)}`, { cause })
  })
  return rows.map((row) => row.slice(0, -1).join('|').replace(/^\d+/, 'ID').replace(leftStep, '$1ENDED WITH THE JOB'))
}

/** Fields of `scontrol show job` that are of one job alone, tell of the VM, or are chance (which of the schedulers took it). */
const ownOfAJob =
  /^(JobId|ArrayJobId|HetJobId|HetJobIdSet|\w*Time|LastSchedEval|PreemptEligibleTime|Priority|Nice|AllocNode:Sid|Command|WorkDir|StdIn|StdOut|StdErr|AdminComment|JobName|Scheduler)$/

/** The rest of them. */
export function sharedFields(fields: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !ownOfAJob.test(name)))
}

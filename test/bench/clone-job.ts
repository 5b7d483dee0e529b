// A job of N VMs on one node through the real Slurm and vmrm, and the same job without VMs: every task says what machine it is
// on, and all stay until they have been looked at. It owns its job and ends it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { openJournal } from '../../lib/daemon/node/runs/journal.ts'
import { createLog } from '../../lib/log.ts'
import { domainUuid } from '../../lib/vm/domain-uuid.ts'
import { findDaemon, logPath } from '../cluster/daemons.ts'
import { hostNamed } from '../cluster/layout.ts'
import { allPids, commandLineOf } from '../cluster/procfs.ts'
import { isOver, jobState, submit } from '../support/batch.ts'
import type { Cluster } from '../support/cluster.ts'
import { readPhases } from '../support/phases.ts'
import { until } from '../support/until.ts'
import { factsScript, type PlannedMachine, parseAnswers, problemsOf } from './clone-answers.ts'
import { cpuSeconds, pssMb } from './process-cost.ts'

export const user = 'alice'
export const node = 'n1'
const boundMs = 600_000
const staysSeconds = 900
const askEveryMs = 2000
/** Of the cluster's vmrmd.xml. */
const clusterName = 'vmrmtest'

export interface JobOfMany {
  readonly n: number
  /** Slurm's memory for each task. */
  readonly memoryMib: number
  readonly signal: AbortSignal
}

/** From the start of sbatch to the end of the step in which every task has answered. */
export interface JobRun {
  readonly answeredMs: number
}

export interface VmJobRun extends JobRun {
  /** On the node: from the Prolog's request until all VMs have their identity. */
  readonly preparedMs: number
  /** Of that, until the run had its copy of the template. */
  readonly copyMs: number
  /** VMs that were no clones. */
  readonly booted: number
  /** Of the VMs' QEMUs, libvirtd and vmrmd. */
  readonly cpuSeconds: number
  readonly pssMb: number
}

const script = `srun sh -c '${factsScript}'
date +"answered %s%N"
exec sleep ${staysSeconds}`

/** Without VMs: what the same job costs with plain Slurm. */
export function runPlainJob(cluster: Cluster, job: JobOfMany): Promise<JobRun> {
  return withJob(cluster, job, [], async (_, run) => run)
}

/** Throws where the VMs that answered are not those that were planned. */
export function runVmJob(cluster: Cluster, job: JobOfMany & { readonly image: string }): Promise<VmJobRun> {
  const asked = [`--vm-image=${job.image}`, `--vm-per-node=${job.n}`, '--vm-script=host']
  const daemons = () =>
    (['vmrmd', 'libvirtd'] as const).flatMap((name) => findDaemon(hostNamed(cluster.layout, node), name)?.pid ?? [])
  return cluster.waitUntilIdle(180_000).then(async () => {
    const before = cpuSeconds(daemons())
    return withJob(cluster, job, asked, async (id, run, output) => {
      const problems = problemsOf(parseAnswers(output), await planOf(cluster, id))
      if (problems.length > 0) throw new Error(`VMs of job ${id}: ${problems.join('; ')}\n${output}`)
      const qemus = qemusNamed(`j${id}r`)
      const vms = readPhases(logPath(hostNamed(cluster.layout, node), 'vmrmd')).filter(({ vm }) =>
        vm.startsWith(`j${id}r`),
      )
      return {
        ...run,
        preparedMs: vms[0]?.preparedMs ?? Number.NaN,
        copyMs: copyMsOf(cluster, id),
        booted: vms.filter(({ how }) => how === 'boot').length,
        cpuSeconds: cpuSeconds([...qemus, ...daemons()]) - before,
        pssMb: pssMb(qemus),
      }
    })
  })
}

/** Submits it, lets `look` see it when all have answered, and ends it. */
async function withJob<T>(
  cluster: Cluster,
  { n, memoryMib, signal }: JobOfMany,
  asked: readonly string[],
  look: (job: number, run: JobRun, output: string) => Promise<T>,
): Promise<T> {
  await cluster.waitUntilIdle(180_000)
  const size = [`--ntasks=${n}`, '--cpus-per-task=1', `--mem=${memoryMib * n}`]
  const beganMs = Date.now()
  const id = await submit(cluster, script, { user, arguments: [`--nodelist=${node}`, ...size, ...asked] })
  try {
    const output = await allAnswered(cluster, id, signal)
    const answeredMs = Number(/^answered (\d+)$/m.exec(output)?.[1]) / 1e6 - beganMs
    return await look(id, { answeredMs }, output)
  } finally {
    await cluster.run(['scancel', String(id)], { user })
  }
}

/** The job's output. Throws with it where the job ends before. */
function allAnswered(cluster: Cluster, id: number, signal: AbortSignal): Promise<string> {
  const path = join(cluster.layout.folder, 'home', user, `job-${id}.out`)
  let askedMs = performance.now()
  const probe = async (): Promise<string | undefined> => {
    signal.throwIfAborted()
    const text = readIfThere(path)
    if (/^answered \d+$/m.test(text)) return text
    if (performance.now() - askedMs < askEveryMs) return undefined
    askedMs = performance.now()
    const state = await jobState(cluster, id)
    if (isOver(state)) throw new Error(`job ${id} is ${state}:\n${text}`)
    return undefined
  }
  return until(`everybody in job ${id} has answered`, probe, boundMs)
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}

/** What the controller has planned, as the node wrote it down. */
async function planOf(cluster: Cluster, id: number): Promise<readonly PlannedMachine[]> {
  const log = createLog({ level: 'error', write: (line: string) => void process.stderr.write(line) })
  const runsFolder = join(hostNamed(cluster.layout, node).folder, 'var/lib/vmrm/runs')
  const { entries } = await openJournal({ runsFolder, log }).load()
  const vms = entries.find(({ job }) => job === id)?.share?.vms ?? []
  return vms.map(({ name, hostname, address, mac }) => {
    const machineId = domainUuid({ cluster: clusterName, vm: name }).replaceAll('-', '')
    return { hostname, address, mac, machineId }
  })
}

/** Of the VMs whose names begin like this. */
export function qemusNamed(prefix: string): readonly number[] {
  return allPids().filter((pid) => commandLineOf(pid).some((word) => word.startsWith(`guest=${prefix}`)))
}

function copyMsOf(cluster: Cluster, id: number): number {
  const log = readFileSync(logPath(hostNamed(cluster.layout, node), 'vmrmd'), 'utf8')
  return Number(new RegExp(` run\\.clones .*run=j${id}r.* copyMs=(\\d+)`).exec(log)?.[1] ?? 0)
}

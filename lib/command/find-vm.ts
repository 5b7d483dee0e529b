// Which VM `--vm N` of a job or a batch is, and where: squeue names the job, the controller the batch and all VMs. It throws a sentence for each way
// in which there is none; whether the caller may use the VM is decided by those who are asked for it.
import { hostname } from 'node:os'
import type { DaemonConfig } from '../config/daemon-schema.ts'
import { loadDaemonConfig } from '../config/load.ts'
import { lookUpAccount } from '../daemon/account.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { batchRun, parseBatchName, parseVmName } from '../job/run.ts'
import type { ReplyOf } from '../protocol/messages.ts'
import { findJob, type NamedJob } from '../slurm/find-job.ts'
import { UsageError } from './command.ts'
import { withController } from './controller.ts'

type ListedRun = ReplyOf<'list-runs'>['runs'][number]

export interface FoundVm {
  readonly config: DaemonConfig
  /** A batch stands for one, with its run's number. */
  readonly job: NamedJob
  readonly restart: number
  /** `j12r0v1` */
  readonly name: string
  /** Counts over the whole run. */
  readonly index: number
  /** Counts over the VMs of its node. */
  readonly position: number
  readonly hostname: string
  readonly node: string
}

/** N of `--vm`; 0 where it is not given. */
export function parseVmNumber(text: string | undefined, usage: string): number {
  if (text === undefined) return 0
  if (/^\d{1,6}$/.test(text)) return Number(text)
  throw new UsageError(`--vm: ${JSON.stringify(text)} is no number of a VM: they count from 0`, usage)
}

/** Only root may look at others' jobs here; everyone else gets `job-not-yours`. */
export async function findVm(jobName: string, index: number): Promise<FoundVm> {
  const config = loadDaemonConfig()
  const batch = parseBatchName(jobName)
  if (batch !== undefined) return { config, ...(await findInBatch(batch, index)) }
  const job = await findJob(jobName, config.slurm)
  const own = process.getuid?.() ?? 0
  if (own !== 0 && job.uid !== own) throw new VmrmError('job-not-yours', `job ${job.name} is ${job.user}'s`)
  requireRunning(job)
  const { runs } = await withController((controller) => controller.call('list-runs', { all: false, job: job.id }))
  return { config, job, ...chooseVm(job.name, runs, index) }
}

/** For what only the VM's own node can do. */
export function requireHere(
  { config, name, node }: FoundVm,
  { what, command }: { what: string; command: string },
): void {
  const here = config.node.name ?? hostname().split('.')[0]
  if (here === node) return
  throw new VmrmError('request-invalid', `VM ${name} is on node ${node}, and so is ${what}: ssh -t ${node} ${command}`)
}

/** The controller shows it to its owner, root and SlurmUser. */
async function findInBatch(batch: number, index: number): Promise<Omit<FoundVm, 'config'>> {
  const { runs } = await withController((controller) => controller.call('list-runs', { all: true, batch }))
  const [run] = runs
  if (run === undefined) throw new VmrmError('batch-unknown', `there is no batch b${batch} that you may see`)
  const vm = chooseVm(`b${batch}`, runs, index)
  const { uid } = await lookUpAccount(run.user)
  return { job: { id: batchRun(batch).job, name: `b${batch}`, uid, user: run.user, state: 'RUNNING' }, ...vm }
}

function requireRunning({ name, state }: NamedJob): void {
  if (state === 'RUNNING') return
  const waits = ['PENDING', 'CONFIGURING', 'REQUEUED', 'RESV_DEL_HOLD', 'REQUEUE_HOLD', 'REQUEUE_FED', 'SPECIAL_EXIT']
  const text = waits.includes(state)
    ? `job ${name} is ${state}: it has VMs once it runs`
    : state === 'SUSPENDED' || state === 'STOPPED'
      ? `job ${name} is ${state}: nothing can be started in it before it goes on`
      : `job ${name} is ${state}: its VMs are gone, or go now`
  throw new VmrmError('job-not-running', text)
}

/** The VM of the newest run, or of the batch. */
export function chooseVm(job: string, runs: readonly ListedRun[], index: number): Omit<FoundVm, 'config' | 'job'> {
  const run = [...runs].sort((a, b) => b.restart - a.restart)[0]
  if (run === undefined) throw new VmrmError('job-without-vms', `job ${job} has no VMs`)
  const whose = run.batch === undefined ? `job ${job}` : `batch ${job}`
  if (run.state === 'planned' || run.state === 'preparing' || run.state === 'prepared')
    throw new VmrmError('vms-not-ready', `the VMs of ${whose} are not ready yet`)
  // Of a batch that has lost a VM the others run.
  if (run.state !== 'committed' && (run.batch === undefined || run.state !== 'lost')) {
    const why = run.reason === undefined ? '' : `: ${run.reason}`
    throw new VmrmError('job-without-vms', `the VMs of ${whose} are gone (${run.state})${why}`)
  }
  const vms = run.vms.flatMap((vm) => {
    const number = parseVmName(vm.name)?.index
    return number === undefined ? [] : [{ ...vm, number }]
  })
  const vm = vms.find((each) => each.number === index)
  if (vm === undefined) {
    const has = vms.length === 1 ? 'one VM, number 0' : `${vms.length} VMs, numbers 0 to ${vms.length - 1}`
    throw new VmrmError('vm-unknown', `${whose} has no VM ${index}: it has ${has}`)
  }
  if (vm.state === 'lost')
    throw new VmrmError('job-without-vms', `VM ${index} of ${whose} is gone: ${run.reason ?? ''}`)
  const position = vms.filter((each) => each.node === vm.node && each.number < index).length
  return { restart: run.restart, name: vm.name, index, position, hostname: vm.hostname, node: vm.node }
}

// Whether a task may enter a VM, and which: the answer to every ATTACH on task.sock. It waits for the verdict, with a bound.

import type { Image } from '../../../config/image-schema.ts'
import type { Admission, AttachRequest } from '../../../guest/relay/admission.ts'
import { guestCpus } from '../../../job/guest-cpus.ts'
import { batchRun, isBatch, parseBatchName, type Run } from '../../../job/run.ts'
import { vmOfTask } from '../../../job/sizing.ts'
import type { Log } from '../../../log.ts'
import { parseNames } from '../../../network/sequences.ts'
import { mostVms, type Share } from '../../../protocol/messages/share.ts'
import { parseCpuList, renderCpuList } from '../../../slurm/cpu-list.ts'
import { renderHostlist } from '../../../slurm/hostlist.ts'
import type { MachineCpus } from '../machine-cpus.ts'
import type { JournalEntry } from '../runs/journal.ts'
import type { LiveRun } from '../runs/live-run.ts'
import { callsOf } from './admit-call.ts'

const refusedExit = 1

export interface AdmitOptions {
  /** The newest run of a job on this node. */
  readonly findRun: (job: number) => LiveRun | undefined
  /** Asks the controller for the verdict, for the case that its push was lost. */
  readonly askVerdict: (run: LiveRun) => void
  readonly imageOf: (name: string) => Image | undefined
  readonly machineCpus: MachineCpus
  readonly taskProlog: () => Promise<string | undefined>
  readonly verdictMs: number
  readonly askEveryMs: number
  readonly node: string
  readonly log: Log
}

/** Never throws for a user's mistake: the refusal's lines are what vmrm-run prints. */
export function createAdmit(options: AdmitOptions) {
  return async (request: AttachRequest, signal: AbortSignal): Promise<Admission> => {
    const { findRun, node, log } = options
    const of = namedRun(request.jobId)
    const run = of === undefined ? undefined : findRun(of.job)
    // Another user's run is answered like none at all: it must not be learned that it exists.
    const isAllowed = run !== undefined && (request.uid === run.entry.uid || request.uid === 0)
    if (run === undefined || !isAllowed) {
      const text = `vmrm: node ${node} has no VM for job ${request.jobId.slice(0, 20)}: its Prolog did not ask for one, or the job has ended\n`
      return { outcome: 'refused', text, exitCode: refusedExit }
    }
    const decided = await decidedWithin(run, options, signal)
    if (decided === 'undecided') {
      const seconds = Math.round(options.verdictMs / 1000)
      return refuse(`vmrm: after ${seconds} s node ${node} still does not know whether all VMs of the job are ready\n`)
    }
    // A daemon that was just started may still be looking for the run's VMs, and find that they are gone.
    await run.idle(signal)
    const entry = decided.state === 'committed' ? run.entry : decided
    if (entry.state !== 'committed') {
      await run.causeTold
      log.info('task.refused', { run: run.name, uid: request.uid, state: entry.state })
      return refuse(entry.reason === '' ? 'vmrm: the job has ended\n' : entry.reason)
    }
    const perNode = entry.share?.vms.length ?? 1
    const position = request.vm ?? vmOfTask(request.localId ?? 0, request.localCount ?? 1, perNode)
    const vm = run.vmAt(position)
    const why = run.whyMissing(position)
    if (why !== undefined)
      return refuse(
        `vmrm: VM ${run.nameAt(position)} on node ${node} did not come up, and the job began without it: ${why}\n`,
      )
    if (vm === undefined) return refuse(`vmrm: the job has no VM ${position} on node ${node}; it has ${perNode}\n`)
    const calls = isBatch(entry)
      ? 'refused'
      : callsOf(entry, request.uid, options.imageOf(entry.share?.image.name ?? ''))
    const cpus = cpusInGuest(request, entry.share, position, options.machineCpus)
    const place = { vm: vm.name, hostname: vm.hostname, channel: vm.channel, calls }
    // Slurm's, for tasks of Slurm's.
    const prolog = isBatch(entry) ? undefined : await options.taskProlog()
    const taskProlog = prolog === undefined ? {} : { taskProlog: prolog }
    const known = partOf(entry)
    return { outcome: 'attached', ...place, ...taskProlog, ...known, ...(cpus === undefined ? {} : { cpus }) }
  }
}

/** `123`, `b7`. */
function namedRun(name: string): Pick<Run, 'job'> | undefined {
  const batch = parseBatchName(name)
  if (batch !== undefined) return batchRun(batch)
  const job = Number(/^[1-9]\d{0,9}$/.exec(name)?.[0])
  return job > 0 && !isBatch({ job }) ? { job } : undefined
}

/** What a best-effort job has of its VMs, and what not. */
function partOf({ share, missingHosts }: JournalEntry): { up?: string; missing?: string } {
  if (share?.strategy !== 'best-effort') return {}
  const missing = new Set(missingHosts)
  const up = parseNames(share.layout.hostnames, mostVms)
    .slice(0, mostVms)
    .filter((name) => !missing.has(name))
  return { up: renderHostlist(up), ...(missing.size === 0 ? {} : { missing: renderHostlist([...missing]) }) }
}

/** A binding that cannot be read is none: it is the user's own word, and the VM's CPUs are all his. */
function cpusInGuest(
  { affinity }: AttachRequest,
  share: Share | undefined,
  position: number,
  machineCpus: MachineCpus,
): string | undefined {
  const machine = share === undefined ? undefined : machineCpus(share)
  if (affinity === undefined || share === undefined || machine === undefined) return undefined
  const vcpus = share.vms.map((vm) => vm.vcpus)
  try {
    const cpus = guestCpus({ affinity: parseCpuList(affinity), machine, vcpus, position })
    return cpus === undefined ? undefined : renderCpuList(cpus)
  } catch {
    return undefined
  }
}

function refuse(text: string): Admission {
  return { outcome: 'refused', text, exitCode: refusedExit }
}

async function decidedWithin(run: LiveRun, options: AdmitOptions, signal: AbortSignal) {
  const bound = AbortSignal.timeout(options.verdictMs)
  const asking = setInterval(() => options.askVerdict(run), options.askEveryMs)
  try {
    return await run.decided(AbortSignal.any([signal, bound]))
  } catch (error) {
    if (bound.aborted && !signal.aborted) return 'undecided' as const
    throw error
  } finally {
    clearInterval(asking)
  }
}

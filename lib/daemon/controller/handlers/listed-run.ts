// A run as `vmrm ps` and other programs are shown it: what the ledger has, and of a batch what its nodes' silence means.
import type { PlannedNode } from '../../../job/plan.ts'
import { originOf, vmName } from '../../../job/run.ts'
import type { ReplyOf } from '../../../protocol/messages.ts'
import type { Ledger, RunRecord, RunState } from '../ledger/ledger.ts'
import { missingVms } from '../transaction/verdict-of.ts'

type ListedRun = ReplyOf<'list-runs'>['runs'][number]
type VmState = ListedRun['vms'][number]['state']

const longestReason = 500

/** The node knows a VM's own state; this is what the run's says of it. */
const vmStateOf = {
  preparing: 'starting',
  committed: 'running',
  aborted: 'ended',
  lost: 'lost',
  ending: 'ended',
  ended: 'ended',
} as const satisfies Record<RunState, VmState>

export function listedRun(
  run: RunRecord,
  { ledger, isLost }: { ledger: Ledger; isLost: (node: string) => boolean },
): ListedRun {
  const origin = originOf(run)
  const name = origin.kind === 'batch' ? ledger.batchOf(run)?.name : undefined
  const missing = new Set(missingVms(ledger, run).map(({ vm }) => vm))
  const isUp = run.state === 'committed' || run.state === 'lost'
  const hasOthers = ({ vms }: PlannedNode) => vms.some(({ index }) => !missing.has(vmName(run, index)))
  // Whoever has a job hears of its nodes from Slurm.
  const asked = origin.kind === 'batch' && isUp ? (run.plan?.nodes ?? []).filter(hasOthers) : []
  const silent = asked.map(({ node }) => node).filter(isLost)
  const reason = reasonOf(run, silent)
  const usage = ledger.usage(run)
  return {
    ...(origin.kind === 'job' ? { job: origin.job } : { batch: origin.batch }),
    ...(name === undefined ? {} : { name }),
    restart: run.restart,
    user: run.user,
    // What the user asked for could not be read.
    image: run.image === '' ? 'none' : run.image,
    state: run.state,
    ...(reason === undefined ? {} : { reason }),
    ...(run.code === '' ? {} : { code: run.code }),
    began: new Date(run.beganMs).toISOString(),
    ...(usage === undefined ? {} : usageOf(usage)),
    vms: vmsOf(run, missing, new Set(silent)),
  }
}

function vmsOf(run: RunRecord, missing: ReadonlySet<string>, silent: ReadonlySet<string>): ListedRun['vms'] {
  // Of a batch only those are lost that are.
  const isWhole = originOf(run).kind === 'job' || run.state !== 'lost'
  const others = isWhole ? vmStateOf[run.state] : 'running'
  const stateOf = (vm: string, node: string): VmState => {
    if (missing.has(vm)) return run.state === 'lost' ? 'lost' : 'missing'
    return silent.has(node) ? 'unknown' : others
  }
  return (run.plan?.nodes ?? []).flatMap(({ node, vms }) =>
    vms.map(({ index, hostname, address }) => {
      const name = vmName(run, index)
      return { name, hostname, node, address, state: stateOf(name, node) }
    }),
  )
}

/** The lines below the first are a console's or a tool's; they are in the job's own output. */
function reasonOf({ reason }: RunRecord, silent: readonly string[]): string | undefined {
  const away = `nobody knows whether VMs on ${silent.join(', ')} run: the vmrmd there has gone and not come back`
  const parts = [reason.split('\n')[0] ?? '', ...(silent.length === 0 ? [] : [away])].filter((part) => part !== '')
  return parts.length === 0 ? undefined : parts.join('; ').slice(0, longestReason)
}

function usageOf({ peakMemoryBytes, cpuTimeNs }: { peakMemoryBytes: number; cpuTimeNs: number }) {
  return { peakMemoryMib: Math.round(peakMemoryBytes / 1_048_576), cpuTimeMs: Math.round(cpuTimeNs / 1e6) }
}

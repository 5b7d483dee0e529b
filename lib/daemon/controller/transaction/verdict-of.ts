// What the ledger says was decided of a run: for the whole of it, and for one of its nodes. It decides nothing.
import { isBatch, type Run, vmName } from '../../../job/run.ts'
import type { Verdict } from '../../../job/verdict.ts'
import type { Ledger, RunRecord } from '../ledger/ledger.ts'

export interface NodeVerdict {
  readonly verdict: Verdict
  readonly reason: string
  /** Hostnames of the VMs, on all nodes, that the job began without. */
  readonly missing: readonly string[]
}

/** For a node that has none of the VMs that a best-effort job began with, `commit` is `abort`; for one that was never to have any the run is over. */
export function verdictOf(ledger: Ledger, run: Run, node?: string): NodeVerdict {
  const record = ledger.find(run)
  if (record === undefined) return { verdict: 'ended', reason: 'the controller does not know this run', missing: [] }
  const { reason } = record
  switch (record.state) {
    case 'preparing':
      return isOutside(record, node) ? outside(node) : { verdict: 'pending', reason: '', missing: [] }
    case 'committed':
      return committed(ledger, record, node)
    case 'aborted':
      return { verdict: 'abort', reason, missing: [] }
    case 'lost':
      // Of a batch the other VMs go on.
      return isBatch(run) ? committed(ledger, record, node) : { verdict: 'lost', reason, missing: [] }
    case 'ending':
    case 'ended':
      return { verdict: 'ended', reason, missing: [] }
    default:
      return record.state satisfies never
  }
}

/** The VMs that a run began without, which its strategy must allow, or that a batch has lost since. */
export function missingVms(ledger: Ledger, { plan, ...run }: RunRecord): ReturnType<Ledger['missing']> {
  return plan?.strategy === 'best-effort' || isBatch(run) ? ledger.missing(run) : []
}

/** A node that the plan does not have; what it holds is another run's of that name, from before the ledger was lost. */
function isOutside({ plan }: RunRecord, node: string | undefined): boolean {
  return plan !== undefined && node !== undefined && !plan.nodes.some((each) => each.node === node)
}

function outside(node: string | undefined): NodeVerdict {
  return { verdict: 'ended', reason: `the run has no VM on node ${node}`, missing: [] }
}

function committed(ledger: Ledger, record: RunRecord, node: string | undefined): NodeVerdict {
  if (isOutside(record, node)) return outside(node)
  // Nobody else ends a batch's share while the batch is there.
  if (node !== undefined && isBatch(record) && ledger.share(record, node) === 'ended')
    return { verdict: 'ended', reason: `nothing of the batch is on node ${node} any more`, missing: [] }
  const missing = missingVms(ledger, record)
  const gone = new Set(missing.map(({ vm }) => vm))
  const isGone = ({ index }: { index: number }) => gone.has(vmName(record, index))
  const nodes = record.plan?.nodes ?? []
  const own = nodes.find((each) => each.node === node)
  if (gone.size > 0 && own?.vms.every(isGone) === true) {
    const why = missing.find((each) => each.node === own.node)?.reason ?? ''
    return { verdict: 'abort', reason: `the job began without node ${node}: ${why}`, missing: [] }
  }
  const hosts = gone.size === 0 ? [] : nodes.flatMap(({ vms }) => vms.filter(isGone).map(({ hostname }) => hostname))
  return { verdict: 'commit', reason: '', missing: hosts }
}

// Whether a run's VMs are enough for its job to begin: the rule of each strategy, over what the nodes have reported. Pure.

/** `all-or-nothing`: every VM, or none. `best-effort`: those that came up, the first of the first node among them. */
export const strategies = ['all-or-nothing', 'best-effort'] as const
export type Strategy = (typeof strategies)[number]

export interface ReportedNode {
  readonly node: string
  /** `failed`: it has no VM of the run; also one that removed what it had made. */
  readonly state: 'planned' | 'prepared' | 'failed' | 'ended'
  /** Why it failed. */
  readonly reason: string
  readonly vms: readonly { readonly name: string }[]
  /** VMs that did not come up on a node that is prepared. */
  readonly missing: readonly { readonly vm: string; readonly reason: string }[]
}

export type Decision =
  | { readonly kind: 'wait' }
  | { readonly kind: 'commit'; readonly missing: readonly { readonly vm: string; readonly reason: string }[] }
  | { readonly kind: 'abort'; readonly reason: string }

const wait: Decision = { kind: 'wait' }

/**
 * `nodes` in the order of the plan: the batch script runs in the first one's first VM. `lateSeconds`: how long the nodes
 * have had, once their time is over.
 */
export function decide(strategy: Strategy, nodes: readonly ReportedNode[], lateSeconds: number | undefined): Decision {
  const isLate = lateSeconds !== undefined
  const late = (of: readonly ReportedNode[]) =>
    `after ${lateSeconds ?? 0} s the VMs of node ${of.map(({ node }) => node).join(', ')} were not ready`
  const isOut = ({ state }: ReportedNode) => state === 'failed' || state === 'ended'
  const open = nodes.filter(({ state }) => state === 'planned')
  const missing = nodes.flatMap((node) => missingOf(node, late))
  if (strategy === 'all-or-nothing') {
    const failed = nodes.find((node) => isOut(node) || node.missing.length > 0)
    if (failed !== undefined)
      return { kind: 'abort', reason: failed.reason || failed.missing[0]?.reason || gone(failed) }
    if (open.length > 0) return isLate ? { kind: 'abort', reason: late(open) } : wait
    return nodes.length === 0 ? wait : { kind: 'commit', missing: [] }
  }
  const [first] = nodes
  if (first === undefined) return wait
  if (isOut(first)) return { kind: 'abort', reason: first.reason || gone(first) }
  const firstVm = first.missing.find(({ vm }) => vm === first.vms[0]?.name)
  if (firstVm !== undefined) return { kind: 'abort', reason: firstVm.reason }
  if (open.length > 0 && !isLate) return wait
  if (first.state === 'planned') return { kind: 'abort', reason: late([first]) }
  return { kind: 'commit', missing }
}

/** The VMs that a node lacks when the job begins now. */
function missingOf(
  node: ReportedNode,
  late: (nodes: readonly ReportedNode[]) => string,
): readonly { readonly vm: string; readonly reason: string }[] {
  if (node.state === 'prepared') return node.missing
  const reason = node.state === 'planned' ? late([node]) : node.reason || gone(node)
  return node.vms.map(({ name }) => ({ vm: name, reason }))
}

function gone({ node }: ReportedNode): string {
  return `node ${node} has no VM of the job any more`
}

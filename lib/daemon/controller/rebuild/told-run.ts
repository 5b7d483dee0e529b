// A run put together again from what its nodes tell of it: their journals hold the shares, and each share names the VMs of
// all of the run's nodes. Pure.
import type { RunPlan } from '../../../job/plan.ts'
import { isBatch, originOf, type Run } from '../../../job/run.ts'
import type { ReplyOf } from '../../../protocol/messages.ts'
import type { Lease } from '../ledger/leases.ts'
import type { AdoptedRun, ShareState } from '../ledger/ledger.ts'
import { nodesOf } from '../ledger/plan-text.ts'

/** What one node knows of a run. */
export type ToldRun = Run & { readonly node: string } & NonNullable<ReplyOf<'tell-run'>['run']>

/**
 * The run as the ledger would have it. `answered`: the nodes that have told all they hold. `deadlineMs` is for a run of
 * which no node has heard a decision; it stays undecided until then.
 */
export function runFromNodes(
  told: readonly [ToldRun, ...ToldRun[]],
  { answered, deadlineMs }: { answered: ReadonlySet<string>; deadlineMs: number },
): AdoptedRun {
  const [first] = told
  const { job, restart, uid, gid, user, script, share } = first
  const plan = planFrom(told)
  const holders = new Set(told.map(({ node }) => node))
  const isOver = (node: string) => answered.has(node) && !holders.has(node)
  const shares = plan.nodes.map(({ node }) => {
    const state: ShareState = isOver(node) ? 'ended' : isPrepared(told, node) ? 'prepared' : 'planned'
    return { node, state, missing: told.find((each) => each.node === node)?.missing ?? [] }
  })
  const lostVm = lostOfBatch(first, stateFrom(told, shares), shares)
  return {
    ...{ job, restart, uid, gid, user, script, deadlineMs, plan, shares },
    batch: batchOf(first),
    // Slurm's account is not in the journals; nothing but lists shows it.
    account: '',
    image: share.image.name,
    beganMs: Math.min(...told.map(({ began }) => Date.parse(began))),
    state: lostVm === undefined ? stateFrom(told, shares) : 'lost',
    reason: lostVm?.reason ?? told.find(({ reason }) => reason !== '')?.reason ?? '',
    leases: leasesOf(plan),
  }
}

function batchOf(told: ToldRun): AdoptedRun['batch'] {
  const origin = originOf(told)
  return origin.kind === 'batch' && told.batch !== undefined ? { batch: origin.batch, ...told.batch } : undefined
}

/** A batch that had to be whole and is not has lost a VM since. */
function lostOfBatch(told: ToldRun, state: AdoptedRun['state'], shares: AdoptedRun['shares']) {
  const isWhole = told.share.strategy !== 'best-effort'
  if (!isBatch(told) || !isWhole || state !== 'committed') return undefined
  return shares.flatMap(({ missing = [] }) => missing)[0]
}

function isPrepared(told: readonly ToldRun[], node: string): boolean {
  return told.some((each) => each.node === node && each.state !== 'preparing')
}

/** A decision is on disk before a node is told of it, so what one node has heard holds for all. */
function stateFrom(told: readonly ToldRun[], shares: AdoptedRun['shares']): AdoptedRun['state'] {
  const states = new Set(told.map(({ state }) => state))
  if (states.has('lost')) return 'lost'
  if (states.has('committed')) return 'committed'
  if (states.has('aborted')) return 'aborted'
  if (states.has('ending')) return 'ending'
  // A node that holds nothing of it any more has refused it.
  return shares.some(({ state }) => state === 'ended') ? 'aborted' : 'preparing'
}

function planFrom(told: readonly [ToldRun, ...ToldRun[]]): RunPlan {
  const { share } = told[0]
  const shares = new Map(told.map((each) => [each.node, each.share]))
  // Of a node that did not tell the sizes are not known, and nobody asks for them again.
  const alike = { ...share, cpus: '' }
  return {
    image: share.image.name,
    revision: share.image.revision,
    ...(share.strategy === undefined ? {} : { strategy: share.strategy }),
    vni: share.vni,
    prefixLength: share.prefixLength,
    gateway: share.gateway ?? '',
    ...(share.sshSecret === undefined ? {} : { sshSecret: share.sshSecret }),
    nodes: nodesOf(share.layout, (node) => shares.get(node) ?? alike),
  }
}

/** All that is leased to a run of this plan. */
export function leasesOf(plan: RunPlan): readonly Lease[] {
  const vms = plan.nodes.flatMap((node) => node.vms)
  return [
    { space: 'vni', value: String(plan.vni) },
    ...vms.flatMap(({ hostname, address, mac }) => [
      { space: 'hostname' as const, value: hostname },
      { space: 'address' as const, value: address },
      { space: 'mac' as const, value: mac },
    ]),
  ]
}

// A node's share of a run, cut out of the plan. Pure.
import type { RunPlan } from '../../../job/plan.ts'
import type { ShareMessage } from '../../../protocol/messages/share.ts'
import type { RunRecord } from '../ledger/ledger.ts'
import { layoutOf, ownOf } from '../ledger/plan-text.ts'

const places = new WeakMap<RunPlan, ReadonlyMap<string, number>>()

/** The share of `node`, or undefined while there is no plan, or none for this node. */
export function shareOf(run: RunRecord, node: string): ShareMessage | undefined {
  const { plan, uid, gid, user } = run
  const planned = plan?.nodes[placesOf(plan).get(node) ?? -1]
  if (plan === undefined || planned === undefined) return undefined
  return {
    deadline: new Date(run.deadlineMs).toISOString(),
    image: { name: plan.image, revision: plan.revision },
    ...(plan.strategy === undefined ? {} : { strategy: plan.strategy }),
    uid,
    gid,
    user,
    vni: plan.vni,
    prefixLength: plan.prefixLength,
    ...(plan.gateway === '' ? {} : { gateway: plan.gateway }),
    ...(plan.sshSecret === undefined ? {} : { sshSecret: plan.sshSecret }),
    node,
    ...ownOf(planned),
    layout: layoutOf(plan),
  }
}

/** A thousand nodes ask at once. */
function placesOf(plan: RunPlan): ReadonlyMap<string, number> {
  const known = places.get(plan) ?? new Map(plan.nodes.map(({ node }, at) => [node, at]))
  places.set(plan, known)
  return known
}

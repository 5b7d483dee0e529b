// Whether what a run is called can be told: its ranges go into one message to each node, and into one frame to each guest.
// It refuses at planning, where the user can be told why; later it would look like a fault of every node. Pure.
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { maxPayloadBytes } from '../../../guest/frame/frame.ts'
import type { RunPlan } from '../../../job/plan.ts'
import { sealedMessageLimitBytes } from '../../../protocol/limits.ts'
import { longestText, type RunLayout } from '../../../protocol/messages/share.ts'
import { layoutOf } from '../ledger/plan-text.ts'

/** For what else an identity has: groups, mounts, keys, commands. */
const restOfIdentityBytes = 16 * 1024
/** For what else a share has: the node's own CPUs and sizes, the seal. */
const restOfShareBytes = 32 * 1024

const kib = (bytes: number): number => Math.ceil(bytes / 1024)

/** Throws `leases-scattered`, with the list that is longest. */
export function requireFit(plan: RunPlan): void {
  const layout = layoutOf(plan)
  const bytesOf = (names: readonly (keyof RunLayout)[]) =>
    names.reduce((sum, name) => sum + (layout[name]?.length ?? 0), 0)
  const all = Object.keys(layout) as (keyof RunLayout)[]
  const inGuest = all.filter((name) => name !== 'macs' && name !== 'underlays')
  const longest = all.reduce((a, b) => ((layout[b]?.length ?? 0) > (layout[a]?.length ?? 0) ? b : a))
  for (const [bytes, most, where] of [
    [bytesOf([longest]), longestText, 'one list'],
    [bytesOf(inGuest), maxPayloadBytes - restOfIdentityBytes, 'what a VM is told'],
    [bytesOf(all), sealedMessageLimitBytes - restOfShareBytes, 'what a node is told'],
  ] as const) {
    if (bytes <= most) continue
    const vms = plan.nodes.reduce((sum, node) => sum + node.vms.length, 0)
    const pieces = layout[longest]?.split(',').length
    const scattered = `the names and addresses of ${vms} VMs do not follow each other (${longest}: ${pieces} ranges)`
    const room = `they take ${kib(bytes)} KiB, and ${where} has room for ${kib(most)}`
    throw new VmrmError('leases-scattered', `image ${plan.image}: ${scattered}; ${room}`)
  }
}

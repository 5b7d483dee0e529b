// A node's share of a run, cut out of the plan. Pure.
import { hostEntries } from '../../job/plan.ts'
import { vmName } from '../../job/run.ts'
import type { Share } from '../../protocol/messages/share.ts'
import type { RunRecord } from './ledger.ts'

/** The share of `node`, or undefined while there is no plan, or none for this node. */
export function shareOf(run: RunRecord, node: string): Share | undefined {
  const { plan, uid, gid, user } = run
  const planned = plan?.nodes.find((entry) => entry.node === node)
  if (plan === undefined || planned === undefined) return undefined
  const peers = plan.nodes.filter((entry) => entry !== planned)
  return {
    deadline: new Date(run.deadlineMs).toISOString(),
    image: { name: plan.image, revision: plan.revision },
    uid,
    gid,
    user,
    vni: plan.vni,
    prefixLength: plan.prefixLength,
    ...(plan.gateway === '' ? {} : { gateway: plan.gateway }),
    peers: peers.map((peer) => ({
      node: peer.node,
      address: peer.underlay,
      vms: peer.vms.map(({ mac, address }) => ({ mac, address })),
    })),
    cpus: planned.cpuIds.join(','),
    memoryMib: planned.memoryMib,
    vms: planned.vms.map(({ slots: _inHosts, ...vm }) => ({ ...vm, name: vmName(run, vm.index) })),
    ...(plan.sshSecret === undefined ? {} : { sshSecret: plan.sshSecret }),
    hosts: hostEntries(plan).map((entry) => ({ ...entry, aliases: [...entry.aliases] })),
  }
}

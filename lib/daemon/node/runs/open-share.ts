// From a share as it travels to what the node works with: its own VMs out of the run's ranges. Pure. Whatever the ranges say,
// it makes no more than a run may have.
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { type Run, vmName } from '../../../job/run.ts'
import { parseAddresses, parseCounts, parseMacs, parseNames, type Sequence } from '../../../network/sequences.ts'
import { mostVms, type Peer, type Share, type ShareMessage } from '../../../protocol/messages/share.ts'

/** Throws `message-invalid` where the ranges do not fit each other. */
export function openShare(run: Run, message: ShareMessage): Share {
  const { layout } = message
  const names = parseNames(layout.nodes, mostVms).slice(0, mostVms)
  const counts = parseCounts(layout.vms, mostVms)
  const place = names.indexOf(message.node)
  const firstOf = (node: number) => counts.slice(0, node).reduce((sum, count) => sum + count, 0)
  const total = firstOf(counts.length)
  const hostnames = parseNames(layout.hostnames, mostVms)
  const addresses = parseAddresses(layout.addresses, mostVms)
  const macs = parseMacs(layout.macs, mostVms)
  const underlays = parseAddresses(layout.underlays, mostVms)
  const ofVms: readonly Sequence[] = [hostnames, addresses, macs]
  const fits =
    place !== -1 &&
    counts.length === names.length &&
    underlays.length === names.length &&
    ofVms.every((each) => each.length === total)
  if (!fits) throw new VmrmError('message-invalid', `the share of node ${message.node} contradicts itself`)

  const count = counts[place] ?? 0
  const first = firstOf(place)
  const vcpus = parseCounts(message.vmCpus, count)
  const memory = parseCounts(message.vmMemoryMib, count)
  const ownOf = (all: Sequence) => all.slice(first, count)
  const mine = { hostnames: ownOf(hostnames), addresses: ownOf(addresses), macs: ownOf(macs) }
  return {
    ...message,
    message,
    vms: Array.from({ length: count }, (_, at) => ({
      index: first + at,
      name: vmName(run, first + at),
      hostname: mine.hostnames[at] ?? '',
      address: mine.addresses[at] ?? '',
      mac: mine.macs[at] ?? '',
      vcpus: vcpus[at] ?? 1,
      memoryMib: memory[at] ?? 1,
    })),
    peers() {
      const allAddresses = addresses.slice(0, total)
      const allMacs = macs.slice(0, total)
      const tunnels = underlays.slice(0, names.length)
      let next = 0
      const peers = names.map((node, at): Peer => {
        const from = next
        next += counts[at] ?? 0
        const indices = Array.from({ length: next - from }, (_, each) => from + each)
        const vms = indices.map((index) => ({ mac: allMacs[index] ?? '', address: allAddresses[index] ?? '' }))
        return { node, address: tunnels[at] ?? '', vms }
      })
      return peers.filter((_, at) => at !== place)
    },
  }
}

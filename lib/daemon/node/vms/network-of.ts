// The network of a run on this node, from the share and the image. Pure.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { planRunNetwork, type RunNetworkPlan } from '../../../network/run-plan.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import type { JournalEntry } from '../runs/journal.ts'

export function networkOf(options: {
  entry: JournalEntry
  share: Share
  image: Image
  config: DaemonConfig
  /** Where other nodes reach this one. */
  underlay: string
}): RunNetworkPlan {
  const { entry, share, image, config, underlay } = options
  const vms = share.vms.map(({ mac, address }, index) => ({ mac, address, index }))
  const common = { vni: share.vni, mtu: image.network.mtu, qemuUid: entry.qemuUid, vms }
  if (image.network.kind === 'bridge') {
    return planRunNetwork({ ...common, network: { kind: 'bridge', bridge: image.network.bridge } })
  }
  if (share.gateway === undefined) throw new VmrmError('internal', `the plan of image ${image.name} has no gateway`)
  return planRunNetwork({
    ...common,
    network: {
      kind: 'private',
      gateway: share.gateway,
      servicesNamespace: config.network.servicesNamespace,
      servicePorts: config.nfs.server === 'none' ? [] : [config.nfs.port],
      peers: share.peers().map((peer) => ({ underlay: peer.address, vms: peer.vms })),
      underlay,
      vxlanPort: config.network.vxlanPort,
    },
  })
}

// Clients to the cluster's other daemons, with the names and uids that sealed messages need.
import type { DaemonConfig } from '../config/daemon-schema.ts'
import { createClient, type ProtocolClient } from '../protocol/client.ts'

export interface ClusterIdentity {
  /** The name this process gives itself: a node's name, `controller` or `user`. */
  readonly name: string
  readonly ownUid: number
  /** SlurmUser's uid: the controller's daemon runs as it. */
  readonly slurmUid: number
}

const rootUid = 0

/**
 * A connection between daemons lasts as long as hellos come: the controller knows by it that the node is there, and a run
 * need not begin with a thousand greetings. The server waits longer, so that no call meets its end.
 */
export const idleMs = ({ timeouts }: DaemonConfig) => {
  const clientMs = Math.max(20_000, 2 * timeouts.reconcileSeconds * 1000)
  return { clientMs, serverMs: Math.max(60_000, clientMs + 20_000) }
}

/**
 * A greeting is the controller's work, which has that of a thousand nodes: giving up and coming again only adds to it. A daemon
 * that is not there is known at once, and each call has a bound of its own.
 */
export const connectMs = 20_000

export function controllerClient(
  config: DaemonConfig,
  self: ClusterIdentity,
  options: { idleTimeoutMs?: number; connectTimeoutMs?: number } = {},
): ProtocolClient {
  const { controller, munge } = config
  return createClient({
    connect: {
      kind: 'munge',
      host: controller.address ?? controller.host,
      port: controller.port,
      name: self.name,
      ownUid: self.ownUid,
      munge: { socketPath: munge.socket },
      to: 'controller',
      receiverUid: self.slurmUid,
      trustedUids: [rootUid, self.slurmUid],
    },
    unreachable: 'controller-unreachable',
    ...options,
  })
}

export function nodeClient(options: {
  config: DaemonConfig
  self: ClusterIdentity
  node: string
  address: string
}): ProtocolClient {
  const { config, self, node, address } = options
  return createClient({
    connect: {
      kind: 'munge',
      host: address,
      port: config.node.port,
      name: self.name,
      ownUid: self.ownUid,
      munge: { socketPath: config.munge.socket },
      to: node,
      receiverUid: rootUid,
      trustedUids: [rootUid, self.slurmUid],
    },
    unreachable: 'daemon-unreachable',
    connectTimeoutMs: connectMs,
  })
}

// How subcommands reach the controller.
import { loadDaemonConfig } from '../config/load.ts'
import { controllerClient } from '../daemon/cluster-peers.ts'
import type { ProtocolClient } from '../protocol/client.ts'
import { uidOf } from './uid-of.ts'

/** Asks the controller as this process's user; the connection is closed afterwards. */
export async function withController<T>(work: (controller: ProtocolClient) => Promise<T>): Promise<T> {
  const config = loadDaemonConfig()
  const ownUid = process.getuid?.() ?? 0
  const slurmUid = await uidOf(config.controller.user)
  const client = controllerClient(config, { name: 'user', ownUid, slurmUid })
  try {
    return await work(client)
  } finally {
    client.close()
  }
}

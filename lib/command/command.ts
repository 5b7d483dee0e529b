// What a subcommand of vmrm is, and how all of them reach the controller.
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { loadDaemonConfig } from '../config/load.ts'
import { lookUpAccount } from '../daemon/account.ts'
import { controllerClient } from '../daemon/cluster-peers.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import type { ProtocolClient } from '../protocol/client.ts'

export interface Command {
  /** One line for `vmrm help`. */
  readonly summary: string
  /** Resolves to the exit code; what it throws is shown to the user. */
  run(args: readonly string[]): Promise<number>
}

/** Options of a subcommand. Throws `request-invalid` with the usage line for what it does not know. */
export function readOptions<T extends ParseArgsOptionsConfig>(usage: string, args: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (cause) {
    throw new VmrmError('request-invalid', `${(cause as Error).message}\nusage: ${usage}`, { cause })
  }
}

/** Asks the controller as this process's user; the connection is closed afterwards. */
export async function withController<T>(work: (controller: ProtocolClient) => Promise<T>): Promise<T> {
  const config = loadDaemonConfig()
  const ownUid = process.getuid?.() ?? 0
  const slurmUid = (await lookUpAccount(config.controller.user)).uid
  const client = controllerClient(config, { name: 'user', ownUid, slurmUid })
  try {
    return await work(client)
  } finally {
    client.close()
  }
}

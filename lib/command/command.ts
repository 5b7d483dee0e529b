// What a subcommand of vmrm is, and how all of them reach the controller.
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { loadDaemonConfig } from '../config/load.ts'
import { controllerClient } from '../daemon/cluster-peers.ts'
import type { ProtocolClient } from '../protocol/client.ts'
import { uidOf } from './uid-of.ts'

export interface Command {
  /** One line for `vmrm help`. */
  readonly summary: string
  /** One line a form, without `usage: `. */
  readonly usage: string
  /** What `vmrm COMMAND --help` says below the usage. */
  readonly help: string
  /** Resolves to the exit code; what it throws is shown to the user. */
  run(args: readonly string[]): Promise<number>
}

/** Exit code of a command line that vmrm does not understand (EX_USAGE). Never 65: the plug-in takes that for a refusal. */
export const usageExit = 64

/** A command line that cannot be understood: shown with the usage, exit code `usageExit`. */
export class UsageError extends Error {
  readonly usage: string

  constructor(message: string, usage: string) {
    super(message)
    this.name = 'UsageError'
    this.usage = usage
  }
}

/** Options of a subcommand. Throws UsageError for what it does not know. */
export function readOptions<T extends ParseArgsOptionsConfig>(usage: string, args: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true })
  } catch (cause) {
    throw new UsageError((cause as Error).message, usage)
  }
}

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

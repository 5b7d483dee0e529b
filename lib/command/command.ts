// What a subcommand of vmrm is, and how it reads its options. It imports nothing of ours: `vmrm help` loads no schema.
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'

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

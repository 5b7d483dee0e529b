// Which of Slurm's commands can be relayed from a guest, and what runs on the host for each. It starts none.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { relayableCommands } from '../config/daemon-schema.ts'

export interface RelayedCommand {
  /** Where it is on the host and appears in the guest. */
  readonly path: string
  /** What is run for it, and the arguments in front of the caller's own. */
  readonly program: string
  readonly programArguments: readonly string[]
}

/** The allowed commands that this host has, by name. `vmrm` is the path of vmrm's own binary. */
export function relayedCommands(options: {
  allowed: readonly string[]
  folder: string
  vmrm: string
}): ReadonlyMap<string, RelayedCommand> {
  const { allowed, folder, vmrm } = options
  const there = allowed
    .filter((name) => relayableCommands.some((known) => known === name))
    .map((name) => ({ name, path: join(folder, name) }))
    .filter(({ path }) => existsSync(path))
  return new Map(
    there.map(({ name, path }) => {
      // Slurm's own puts files onto nodes; the job's VMs are vmrm's to reach.
      const isOurs = name === 'sbcast'
      return [name, { path, program: isOurs ? vmrm : path, programArguments: isOurs ? ['sbcast'] : [] }]
    }),
  )
}

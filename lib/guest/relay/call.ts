// One call: a command of Slurm's that a process in the guest asks for. What it passes through; VmCalls moves it.
import type { TaskClient } from './task-client.ts'

/** `waiting`: its task's vmrm-run has not been told. `asked`: it has. `serving`: a server is attached. `over`: the guest wants nothing any more. */
export interface Call {
  readonly session: bigint
  readonly parent: bigint
  readonly command: string
  readonly raw: Buffer
  state: 'waiting' | 'asked' | 'serving' | 'over'
  server?: TaskClient
  /** The newest RESUME that came while there was no server to take it. */
  resume?: Buffer
  timer?: NodeJS.Timeout
}

export type Claim =
  /** `command` is undefined where the server runs it already. */
  { readonly outcome: 'granted'; readonly command: string | undefined } | { readonly outcome: 'refused' | 'again' }

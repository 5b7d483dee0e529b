// The VMs whose frames are routed, each with its sessions; the newest channel of a VM has them. It lets nobody in.
import type { Log } from '../../log.ts'
import type { GuestChannel } from '../channel/channel.ts'
import type { TaskClient } from './task-client.ts'
import { VmSessions } from './vm-sessions.ts'

export interface VmTableOptions {
  readonly log: Log
  readonly orphanGraceMs: number
  /** True while some client that is not attached yet asks for this session. */
  readonly isClaimed: (session: bigint) => boolean
  /** A client has other sessions than before: its VM has a new channel. 'gone': it is not there any more. */
  readonly moved: (client: TaskClient, sessions: VmSessions) => 'there' | 'gone'
}

export class VmTable {
  readonly #options: VmTableOptions
  readonly #byVm = new Map<string, VmSessions>()

  constructor(options: VmTableOptions) {
    this.#options = options
  }

  all(): Iterable<VmSessions> {
    return this.#byVm.values()
  }

  /** Begins to route its frames, where nobody does yet. */
  of(channel: GuestChannel): VmSessions {
    const known = this.#byVm.get(channel.vm)
    if (known?.channel === channel) return known
    const { log, orphanGraceMs, isClaimed, moved } = this.#options
    const sessions = new VmSessions({ channel, log, orphanGraceMs, isClaimed })
    this.#byVm.set(channel.vm, sessions)
    for (const client of known?.detach() ?? []) {
      if (moved(client, sessions) === 'gone') continue
      sessions.add(client)
      if (channel.state === 'ready') client.reset()
      client.proceed()
    }
    return sessions
  }

  /** The VM is gone for good: its tasks print `text` and end. */
  lost(vm: string, text: string): void {
    this.#byVm.get(vm)?.lost(text)
    this.#byVm.delete(vm)
  }

  /** Stops routing, and tells nobody. */
  clear(): void {
    for (const sessions of this.#byVm.values()) sessions.detach()
    this.#byVm.clear()
  }
}

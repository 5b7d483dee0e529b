// Which connections are let in: how many in all, how many of one user. It owns the set of open connections.
import type { Socket } from 'node:net'
import { VmrmError } from '../../errors/vmrm-error.ts'
import type { Log } from '../../log.ts'
import type { Caller } from './caller.ts'
import type { ServerChannel } from './channel.ts'
import { type ConnectionLimits, type ServedRequest, ServerConnection } from './server-connection.ts'

export interface ServerLimits extends ConnectionLimits {
  /** Of those who are not known to be root or SlurmUser: nodes of a large cluster all have theirs. */
  readonly connections: number
  /** Of one user other than root and SlurmUser. */
  readonly connectionsPerUser: number
}

export interface AdmissionOptions {
  readonly trustedUids: readonly number[]
  readonly limits: ServerLimits
  readonly log: Log
  /** Called when it is known who connected, and again when that connection has ended. */
  readonly onPeer?: ((caller: Caller, change: 'connected' | 'gone') => void) | undefined
  /** Resolves to the XML of the reply. */
  readonly serve: (request: ServedRequest) => Promise<string>
}

export class Admission {
  readonly #options: AdmissionOptions
  readonly #limits: ServerLimits
  readonly #log: Log
  readonly #connections = new Set<ServerConnection>()
  #untrusted = 0
  readonly #perUser = new Map<number, number>()

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#limits = options.limits
    this.#log = options.log
  }

  /** Serves a connection, or refuses it by closing it. */
  admit(socket: Socket, channel: ServerChannel, known: Caller | undefined): void {
    // It may have gone while the kernel was asked who it is.
    if (socket.destroyed) return
    const isTrusted = known !== undefined && this.#isTrusted(known.uid)
    if (!isTrusted && this.#untrusted >= this.#limits.connections) {
      this.#log.warn('protocol.too-many-connections', { limit: this.#limits.connections })
      socket.destroy()
      return
    }
    let counted: Caller | undefined
    let isCounted = !isTrusted
    if (isCounted) this.#untrusted += 1
    const count = (caller: Caller) => {
      counted = caller
      if (isCounted && this.#isTrusted(caller.uid)) {
        isCounted = false
        this.#untrusted -= 1
      }
      this.#options.onPeer?.(caller, 'connected')
      const users = (this.#perUser.get(caller.uid) ?? 0) + 1
      this.#perUser.set(caller.uid, users)
      if (users > this.#limits.connectionsPerUser && !this.#isTrusted(caller.uid)) {
        throw new VmrmError(
          'not-permitted',
          `uid ${caller.uid} has more than ${this.#limits.connectionsPerUser} connections`,
        )
      }
    }
    const connection: ServerConnection = new ServerConnection({
      socket,
      channel,
      limits: this.#limits,
      log: this.#log,
      serve: this.#options.serve,
      onCaller: count,
      onClose: () => {
        this.#connections.delete(connection)
        if (isCounted) this.#untrusted -= 1
        if (counted === undefined) return
        this.#release(counted.uid)
        this.#options.onPeer?.(counted, 'gone')
      },
    })
    this.#connections.add(connection)
  }

  async drain(graceMs: number): Promise<void> {
    const timer = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy()
    }, graceMs)
    await Promise.all([...this.#connections].map((connection) => connection.drain()))
    clearTimeout(timer)
  }

  #isTrusted(uid: number): boolean {
    return this.#options.trustedUids.includes(uid)
  }

  #release(uid: number): void {
    const left = (this.#perUser.get(uid) ?? 1) - 1
    if (left > 0) this.#perUser.set(uid, left)
    else this.#perUser.delete(uid)
  }
}

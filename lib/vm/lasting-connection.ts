// A libvirt connection that is made again whenever it is lost. It owns the back-off; what is said over it is others' business.
import { setTimeout as delay } from 'node:timers/promises'
import { VmrmError } from '../errors/vmrm-error.ts'
import type { LibvirtConnection } from '../libvirt/index.ts'
import type { Log } from '../log.ts'
import type { Reachability } from './hypervisor.ts'

export interface LastingConnectionOptions {
  readonly connect: (signal: AbortSignal) => Promise<LibvirtConnection>
  /** Before a new connection is handed out: subscribe, look at what changed. Its failure counts as a lost connection. */
  readonly onConnected: (connection: LibvirtConnection) => Promise<void>
  readonly onReachability: (state: Reachability) => void
  readonly log: Log
  /** First pause after a failed try; doubled up to the longest. */
  readonly firstPauseMs: number
  readonly longestPauseMs: number
  /** How long `get` waits for a connection that is being made. */
  readonly graceMs: number
}

export class LastingConnection {
  readonly #options: LastingConnectionOptions
  readonly #closing = new AbortController()
  readonly #loop: Promise<void>
  #current: LibvirtConnection | undefined
  #arrival = Promise.withResolvers<LibvirtConnection>()
  #lastFailure: unknown

  constructor(options: LastingConnectionOptions) {
    this.#options = options
    this.#loop = this.#run()
  }

  get reachability(): Reachability {
    return this.#current === undefined ? 'unreachable' : 'reachable'
  }

  /** The connection there is, or the next one within the grace; else `libvirt-unreachable`. */
  async get(signal?: AbortSignal): Promise<LibvirtConnection> {
    signal?.throwIfAborted()
    if (this.#current !== undefined) return this.#current
    const { graceMs } = this.#options
    const ended = AbortSignal.any([AbortSignal.timeout(graceMs), this.#closing.signal, ...(signal ? [signal] : [])])
    const cut = Promise.withResolvers<never>()
    const onEnd = () => cut.reject(signal?.aborted ? signal.reason : this.#unreachable())
    if (ended.aborted) onEnd()
    ended.addEventListener('abort', onEnd)
    try {
      return await Promise.race([this.#arrival.promise, cut.promise])
    } finally {
      ended.removeEventListener('abort', onEnd)
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#current?.close()
    await this.#loop
  }

  #unreachable(): VmrmError {
    const cause = this.#lastFailure
    const why = cause instanceof Error ? cause.message : 'the connection is closed'
    return new VmrmError('libvirt-unreachable', `libvirt on this node cannot be reached: ${why}`, { cause })
  }

  async #run(): Promise<void> {
    const { connect, onConnected, onReachability, log, firstPauseMs, longestPauseMs } = this.#options
    const { signal } = this.#closing
    let pauseMs = firstPauseMs
    while (!signal.aborted) {
      let connection: LibvirtConnection | undefined
      const { promise: lost, resolve: lose } = Promise.withResolvers<unknown>()
      try {
        connection = await connect(signal)
        connection.onClose(lose)
        signal.addEventListener('abort', lose, { once: true })
        await onConnected(connection)
        pauseMs = firstPauseMs
        this.#current = connection
        this.#arrival.resolve(connection)
        onReachability('reachable')
        this.#lastFailure = await lost
        this.#current = undefined
        this.#arrival = Promise.withResolvers()
        if (signal.aborted) break
        log.warn('hypervisor.unreachable', { error: String(this.#lastFailure) })
        onReachability('unreachable')
      } catch (error) {
        this.#lastFailure = error
        if (!signal.aborted) log.warn('hypervisor.connect-failed', { error: String(error), retryMs: pauseMs })
      }
      signal.removeEventListener('abort', lose)
      await connection?.close()
      await delay(pauseMs, undefined, { signal, ref: false }).catch(() => {}) // closing
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }
}

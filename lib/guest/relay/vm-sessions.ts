// The sessions of one VM: which client has which, who waits for the guest, which sessions nobody claims. It knows no jobs and no users' rights.
import type { Log } from '../../log.ts'
import type { GuestChannel } from '../channel/channel.ts'
import { encodeFields } from '../frame/fields.ts'
import { encodeFrame, type Frame, frameType } from '../frame/frame.ts'
import { guestSessionBreach } from '../frame/frame-rules.ts'
import type { TaskClient } from './task-client.ts'
import { VmCalls } from './vm-calls.ts'

export interface VmSessionsOptions {
  readonly channel: GuestChannel
  readonly log: Log
  /** How long a session without a client may live, in ms: vmrmd may just have been restarted. */
  readonly orphanGraceMs: number
  /** True while some client that is not attached yet asks for this session. */
  readonly isClaimed: (session: bigint) => boolean
}

// How many numbers the guest made up are remembered, so that each gets one KILL and not one a frame.
const maxStrangers = 256
const maxWords = 300
// As many as an honest agent has; what a guest claims beyond that ends at once.
const maxOrphans = 1000

export class VmSessions {
  readonly calls: VmCalls
  readonly #channel: GuestChannel
  readonly #options: VmSessionsOptions
  readonly #clients = new Map<bigint, TaskClient>()
  readonly #orphans = new Map<bigint, NodeJS.Timeout>()
  readonly #strangers = new Set<bigint>()
  /** With what a call's other end is told. */
  readonly #pendingKills = new Map<bigint, string | undefined>()
  #waiting: TaskClient[] = []
  #current: TaskClient | undefined
  readonly #onReady = () => this.#renewed()
  readonly #onDrain = () => this.#drained()

  constructor(options: VmSessionsOptions) {
    this.#options = options
    this.#channel = options.channel
    this.calls = new VmCalls({
      vm: this.#channel.vm,
      log: options.log,
      send: (raw) => void this.#channel.send(raw),
      kill: (session, words) => this.#kill(session, words),
      isBacklogged: () => this.#pendingKills.size >= maxStrangers,
      parentOf: (session) => this.#clients.get(session) ?? (this.#orphans.has(session) ? 'awaited' : undefined),
      isTask: (session) => this.#clients.has(session) || this.#orphans.has(session),
      recoverMs: options.orphanGraceMs,
    })
    this.#channel.onFrame = (frame) => this.#fromGuest(frame)
    this.#channel.onBatchEnd = () => this.#flush()
    this.#channel.on('ready', this.#onReady)
    this.#channel.on('drain', this.#onDrain)
    this.#channel.repeatMissed()
    if (this.#channel.state === 'ready') this.#renewed()
  }

  get channel(): GuestChannel {
    return this.#channel
  }

  get isFull(): boolean {
    return this.#channel.isFull
  }

  clientOf(session: bigint): TaskClient | undefined {
    return this.#clients.get(session)
  }

  /**
   * Gives the session to this client, which has been told ATTACHED; a client that had it before is dropped without a word to
   * the guest.
   */
  add(client: TaskClient): void {
    const before = this.#clients.get(client.session)
    this.#clients.set(client.session, client)
    before?.drop('another connection has taken its session')
    clearTimeout(this.#orphans.get(client.session))
    this.#orphans.delete(client.session)
    this.#strangers.delete(client.session)
    this.calls.parentCame()
  }

  fromClient(client: TaskClient, frame: Frame): void {
    if (client.kind === 'server') {
      this.calls.fromServer(client, frame)
      return
    }
    this.#channel.send(frame.raw)
    if (frame.type !== frameType.close) return
    this.#clients.delete(client.session)
    this.calls.parentGone(client.session)
  }

  /** The client is gone. A task that was not closed dies, and so does what it had run for it. */
  remove(client: TaskClient): void {
    this.#waiting = this.#waiting.filter((waiting) => waiting !== client)
    if (client.kind === 'server') {
      this.calls.serverGone(client)
      return
    }
    if (this.#clients.get(client.session) !== client) return
    this.#clients.delete(client.session)
    this.#kill(client.session)
    this.calls.parentGone(client.session)
  }

  wait(client: TaskClient): void {
    this.#waiting.push(client)
  }

  /** The VM is gone: every client is told. */
  lost(text: string): void {
    const servers = this.calls.servers
    for (const client of [...this.detach(), ...servers]) client.lost(text)
  }

  /** Stops routing and says nothing to anyone, neither guest nor clients. The tasks' clients it had are the answer. */
  detach(): TaskClient[] {
    this.#channel.onFrame = () => {}
    this.#channel.onBatchEnd = () => {}
    this.#channel.off('ready', this.#onReady)
    this.#channel.off('drain', this.#onDrain)
    for (const timer of this.#orphans.values()) clearTimeout(timer)
    this.#orphans.clear()
    const clients = [...this.#clients.values()]
    this.#clients.clear()
    this.calls.clear()
    this.#waiting = []
    return clients
  }

  #fromGuest(frame: Frame): void {
    const client = this.#clients.get(frame.session)
    if (client === undefined) {
      if (this.calls.has(frame.session)) this.calls.fromGuest(frame)
      else if (frame.type === frameType.call) this.calls.ask(frame)
      else this.#fromStranger(frame)
      return
    }
    const fault = guestSessionBreach(frame, 'task')
    if (fault !== undefined) {
      this.#channel.renew(`the guest sent ${fault}`)
      return
    }
    if (frame.type === frameType.call) {
      this.calls.ask(frame)
      return
    }
    if (this.#current !== client) this.#flush()
    this.#current = client
    client.deliver(frame.raw)
  }

  #flush(): void {
    this.#current?.flush()
    this.#current = undefined
    for (const server of this.calls.servers) server.flush()
  }

  #fromStranger(frame: Frame): void {
    const { session } = frame
    // A CLOSE asks for nothing: what ended here just now is being closed by its other end.
    if (frame.type === frameType.close || this.calls.fromStranger(frame) === 'held') return
    if (this.#orphans.has(session) || this.#strangers.has(session)) return
    // A guest that makes up numbers and never reads must not make us queue KILLs without end: its next frame brings one.
    if (this.#channel.isFull) return
    if (this.#strangers.size >= maxStrangers) this.#strangers.clear()
    this.#strangers.add(session)
    this.#kill(session)
  }

  #kill(session: bigint, words?: string): void {
    this.#pendingKills.set(session, words)
    this.#sendKills()
  }

  #sendKills(): void {
    for (const [session, words] of this.#pendingKills) {
      if (this.#channel.isFull) return
      this.#pendingKills.delete(session)
      const payload = words === undefined ? Buffer.alloc(0) : encodeFields([[1, words.slice(0, maxWords)]])
      this.#channel.send(encodeFrame({ type: frameType.kill, session, payload }))
    }
  }

  #renewed(): void {
    this.#strangers.clear()
    for (const session of this.#channel.info?.sessions ?? []) {
      const isKnown = this.#clients.has(session) || this.#orphans.has(session) || this.#pendingKills.has(session)
      if (!isKnown) this.#awaitClaim(session)
    }
    for (const client of this.#clients.values()) client.reset()
    this.calls.renewed()
    this.#drained()
  }

  #drained(): void {
    this.#sendKills()
    this.#proceed()
  }

  #awaitClaim(session: bigint): void {
    if (this.#orphans.size >= maxOrphans && !this.#orphans.has(session)) {
      this.#kill(session)
      return
    }
    const timer = setTimeout(() => {
      if (this.#options.isClaimed(session)) return this.#awaitClaim(session)
      this.#orphans.delete(session)
      this.#options.log.warn('session.orphaned', { vm: this.#channel.vm, session: session.toString(16) })
      this.#kill(session)
      this.calls.parentGone(session)
    }, this.#options.orphanGraceMs)
    this.#orphans.set(session, timer)
  }

  /** Each client that waits has one turn before any has a second. */
  #proceed(): void {
    const turns = this.#waiting
    this.#waiting = []
    while (turns.length > 0 && !this.isFull) turns.shift()?.proceed()
    this.#waiting = [...turns, ...this.#waiting]
  }
}

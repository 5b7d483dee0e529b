// The calls of one VM: Slurm's commands that its guest has run on the host. It knows who asked for which and who serves it, and bounds both; it never
// decides which command is allowed, and believes nothing of a guest but what it asks for.
import type { Log } from '../../log.ts'
import { decodeFields, textOf, u64sOf } from '../frame/fields.ts'
import { type Frame, frameType } from '../frame/frame.ts'
import { guestSessionBreach } from '../frame/frame-rules.ts'
import { TokenBucket } from '../frame/token-bucket.ts'
import type { Call, Claim } from './call.ts'
import { HeldCalls } from './held-calls.ts'
import type { TaskClient } from './task-client.ts'

/** Calls at a time in one VM, those included whose command still ends on the host. An honest agent keeps 64 callers, and their successors come at once. */
export const maxCalls = 128
const burst = 64
const noTask = 'no task of the job is there for which Slurm’s commands could be run'
const tooMany = `${maxCalls} of Slurm’s commands run in this VM already`
const serveWithinMs = 30_000
const callsPerSecond = 200

export interface VmCallsOptions {
  readonly vm: string
  readonly log: Log
  /** Hands a frame to the guest; it may be lost. */
  readonly send: (raw: Buffer) => void
  /** Ends the guest's side of a call, for certain; the caller prints `words`. */
  readonly kill: (session: bigint, words?: string) => void
  /** True while the guest takes no more of that. */
  readonly isBacklogged: () => boolean
  /** The client that has the task's session; `awaited`: after a restart of vmrmd it may still come. */
  readonly parentOf: (session: bigint) => TaskClient | 'awaited' | undefined
  readonly isTask: (session: bigint) => boolean
  /** How long after its start a vmrmd that was restarted meets calls whose servers have not come back yet. */
  readonly recoverMs: number
}

export class VmCalls {
  readonly #options: VmCallsOptions
  readonly #calls = new Map<bigint, Call>()
  readonly #bucket: TokenBucket
  /** Of before a restart. */
  readonly #held: HeldCalls

  constructor(options: VmCallsOptions) {
    this.#options = options
    this.#held = new HeldCalls({
      ...{ most: maxCalls, recoverMs: options.recoverMs },
      onOver: (left) => {
        for (const session of left) if (!this.#calls.has(session)) options.kill(session)
      },
    })
    this.#bucket = new TokenBucket({ perSecond: callsPerSecond, burst, refilled: () => this.#askAll() })
  }

  has(session: bigint): boolean {
    return this.#calls.has(session)
  }

  get servers(): TaskClient[] {
    return [...this.#calls.values()].flatMap(({ server }) => (server === undefined ? [] : [server]))
  }

  /** A CALL of the guest. */
  ask(frame: Frame): void {
    const fields = decodeFields(frame.payload) ?? []
    const [session = 0n] = u64sOf(fields, 1)
    const command = textOf(fields, 2) ?? ''
    // Said again after a renewal, since the guest cannot know whether it came.
    if (this.#calls.has(session)) return
    const parent = frame.session
    if (session === 0n || session === parent || this.#options.isTask(session)) {
      this.#refuse(session, noTask)
      return
    }
    if (this.#options.parentOf(parent) === undefined) {
      this.#refuse(session, noTask)
      return
    }
    if (this.#calls.size >= maxCalls) {
      this.#refuse(session, tooMany)
      return
    }
    const call: Call = { session, parent, command, raw: Buffer.from(frame.raw), state: 'waiting' }
    this.#calls.set(session, call)
    this.#askParent(call)
  }

  /** A frame of a call that `has` knows. */
  fromGuest(frame: Frame): void {
    const call = this.#calls.get(frame.session)
    if (call === undefined || call.state === 'over') return
    const fault = guestSessionBreach(frame, 'call')
    if (fault !== undefined) {
      this.#options.log.warn('call.breach', { vm: this.#options.vm, session: call.session.toString(16), fault })
      this.#options.kill(call.session)
      call.server?.drop(`its caller sent ${fault}`)
      this.#over(call)
      return
    }
    if (call.state === 'serving') call.server?.deliver(frame.raw)
    else if (frame.type === frameType.resume) call.resume = Buffer.from(frame.raw)
    if (frame.type === frameType.close) this.#over(call)
  }

  /** A frame of a session that nobody knows. `held`: it may be a call from before a restart. */
  fromStranger(frame: Frame): 'held' | 'unknown' {
    return this.#held.hold(frame)
  }

  /**
   * This client of the parent's user wants to serve the call: the first one may. `again`: a vmrmd that was just restarted may
   * not have heard of it yet.
   */
  claim(server: TaskClient, request: { parent: bigint; resumed: 'new' | 'resumed' }): Claim {
    const { session } = server
    const known = this.#calls.get(session)
    if (known?.state === 'over') {
      if (known.server === undefined) this.#forget(known)
      return { outcome: 'refused' }
    }
    if (known !== undefined) {
      if (known.parent !== request.parent || known.server !== undefined) return { outcome: 'refused' }
      if (known.state === 'waiting') return { outcome: 'again' }
      clearTimeout(known.timer)
      known.server = server
      return { outcome: 'granted', command: known.command }
    }
    return this.#claimHeld(server, request)
  }

  /** Its server runs already, since before a restart: what matters now is that the guest answers to this number, or not at all. */
  #claimHeld(server: TaskClient, { parent, resumed }: { parent: bigint; resumed: 'new' | 'resumed' }): Claim {
    const { session } = server
    if (this.#held.isOver || this.#calls.size >= maxCalls || this.#options.isTask(session)) {
      return { outcome: 'refused' }
    }
    if (resumed === 'new') return { outcome: 'again' }
    const resume = this.#held.take(session)
    const call: Call = { session, parent, command: '', raw: Buffer.alloc(0), state: 'asked', server }
    this.#calls.set(session, resume === undefined ? call : { ...call, resume })
    return { outcome: 'granted', command: undefined }
  }

  /** The server of the call that it claimed has been told ATTACHED. */
  serve(server: TaskClient): void {
    const call = this.#calls.get(server.session)
    if (call?.server !== server || call.state === 'over') {
      server.drop('its caller is gone')
      return
    }
    call.state = 'serving'
    if (call.resume !== undefined) server.deliver(call.resume)
    delete call.resume
    server.flush()
  }

  /** The claim came to nothing: the guest's side ends with these words. */
  refuse(session: bigint, text: string): void {
    const call = this.#calls.get(session)
    if (call === undefined || call.state === 'serving') return
    // The caller puts its own `vmrm: ` in front.
    if (call.state !== 'over') this.#options.kill(session, text.replace(/^vmrm: /, '').trimEnd())
    this.#forget(call)
  }

  /** A frame of the server for its caller. */
  fromServer(server: TaskClient, frame: Frame): void {
    const call = this.#calls.get(server.session)
    if (call?.server === server && call.state === 'serving') this.#options.send(frame.raw)
  }

  /** The server's connection is gone: so is the call. */
  serverGone(server: TaskClient): void {
    const call = this.#calls.get(server.session)
    if (call?.server !== server) return
    if (call.state !== 'over') this.#options.kill(call.session)
    this.#forget(call)
  }

  /** The task has ended or lost its vmrm-run: nothing is run for it any more. */
  parentGone(parent: bigint): void {
    for (const call of [...this.#calls.values()]) {
      if (call.parent !== parent) continue
      if (call.state !== 'over') this.#options.kill(call.session)
      this.#forget(call)
      call.server?.drop('the task that it was called from has ended')
    }
  }

  /** The task's vmrm-run is there. */
  parentCame(): void {
    this.#askAll()
  }

  /** Frames may have been lost. */
  renewed(): void {
    for (const { server } of this.#calls.values()) server?.reset()
  }

  /** Forgets all; nobody is told. */
  clear(): void {
    this.#bucket.stop()
    this.#held.stop()
    for (const call of [...this.#calls.values()]) this.#forget(call)
  }

  #askAll(): void {
    for (const call of this.#calls.values()) if (call.state === 'waiting') this.#askParent(call)
  }

  /** At a bounded rate, since each one costs the host a process. What comes too fast waits. */
  #askParent(call: Call): void {
    const parent = this.#options.parentOf(call.parent)
    if (parent === undefined || parent === 'awaited' || this.#bucket.take() === 'empty') return
    if (parent.calls === 'refused') {
      this.refuse(call.session, 'vmrm: Slurm’s commands are not run for this task\n')
      return
    }
    call.state = 'asked'
    call.timer = setTimeout(
      () => this.refuse(call.session, 'vmrm: the node did not start the command\n'),
      serveWithinMs,
    )
    parent.tell(call.raw)
  }

  /** The guest's side is over. What has a server ends with it; what was asked for waits for that server, to be counted until then. */
  #over(call: Call): void {
    if (call.state === 'waiting') {
      this.#forget(call)
      return
    }
    call.state = 'over'
    if (call.server !== undefined) return
    clearTimeout(call.timer)
    call.timer = setTimeout(() => this.#forget(call), serveWithinMs)
  }

  #forget(call: Call): void {
    clearTimeout(call.timer)
    if (this.#calls.get(call.session) === call) this.#calls.delete(call.session)
  }

  #refuse(session: bigint, words: string): void {
    // A guest that asks and never reads must not make us queue answers without end.
    if (session === 0n || this.#options.isTask(session) || this.#options.isBacklogged()) return
    this.#options.kill(session, words)
  }
}

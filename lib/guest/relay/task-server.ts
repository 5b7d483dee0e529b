// task.sock: lets each vmrm-run have its one session in its job's VM. It owns the socket; who may enter which VM is `admit`'s to say.
import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { renderForUser, toVmrmError } from '../../errors/vmrm-error.ts'
import type { Log } from '../../log.ts'
import type { GuestChannel } from '../channel/channel.ts'
import type { AttachFields, ServeFields } from './attach.ts'
import { TaskClient, type TaskClientEvents } from './task-client.ts'
import { VmSessions } from './vm-sessions.ts'

export interface PeerCredentials {
  readonly uid: number
  readonly gid: number
  readonly pid: number
}

/** Who asks for a task's place: what the client claims, but for `uid`, which the kernel says. */
export interface AttachRequest {
  readonly jobId: string
  readonly localId?: number
  readonly localCount?: number
  readonly vm?: number
  readonly step: string
  /** The host's CPUs that it may use. */
  readonly affinity?: string
  readonly uid: number
}

export type Admission =
  | {
      readonly outcome: 'attached'
      readonly vm: string
      readonly hostname: string
      readonly channel: GuestChannel
      /** The VM's own CPU numbers the task is bound to, such as `0,2-3`; absent: not bound. */
      readonly cpus?: string
      /** Of a best-effort job: host lists of the VMs that came up and of those that did not. */
      readonly up?: string
      readonly missing?: string
      /** The site's TaskProlog. */
      readonly taskProlog?: string
      /** Whether Slurm's commands may be run on the host for the task; absent: not. */
      readonly calls?: 'allowed' | 'refused'
    }
  | Refusal

export interface Refusal {
  readonly outcome: 'refused'
  readonly text: string
  readonly exitCode: number
}

/** A process in the guest has asked for a command; `uid` is the task's and the server's, as the kernel says. */
export interface CallRequest {
  readonly jobId: string
  readonly vm: string
  /** As the guest wrote it. Undefined: it runs already, and its server comes back to a vmrmd that was restarted. */
  readonly command: string | undefined
  readonly uid: number
}

export type CallAdmission =
  | {
      readonly outcome: 'admitted'
      /** Absolute path on the host; absent where it runs already. */
      readonly program?: string
      readonly programArguments?: readonly string[]
      /** The user's folder for what comes from the guest. */
      readonly folder: string
    }
  | Refusal

export interface TaskServerOptions {
  readonly path: string
  readonly log: Log
  /** Throws when the socket's peer cannot be known; the client is then dropped. */
  readonly peerCredentials: (socket: Socket) => PeerCredentials
  /** Waits for the verdict; aborted when the client is gone. What it throws is shown to the user. */
  readonly admit: (request: AttachRequest, signal: AbortSignal) => Promise<Admission>
  /** What runs when the guest asks for a command of Slurm's. What it throws is shown to the user. */
  readonly admitCall: (request: CallRequest) => Promise<CallAdmission>
  readonly orphanGraceMs?: number
  /** Connections one uid may have: descriptors are every user's. */
  readonly maxClientsPerUid?: number
}

interface ClientEntry {
  readonly stop: AbortController
  claims: bigint
  jobId?: string
  sessions?: VmSessions
}

/** A server of a call comes again at once; it gives up by itself. */
const notYet = 'its task may not have come back yet'

export class TaskServer {
  readonly #startedMs = performance.now()
  readonly #options: Required<TaskServerOptions>
  readonly #server: Server
  readonly #clients = new Map<TaskClient, ClientEntry>()
  readonly #byVm = new Map<string, VmSessions>()
  readonly #events: TaskClientEvents
  #state: 'open' | 'closing' = 'open'

  constructor(options: TaskServerOptions) {
    this.#options = { orphanGraceMs: 15_000, maxClientsPerUid: 1024, ...options }
    this.#server = createServer({ allowHalfOpen: false }, (socket) => this.#accept(socket))
    this.#events = {
      attach: (client, fields) => void this.#attach(client, fields),
      serve: (client, fields) => void this.#serve(client, fields),
      frame: (client, frame) => this.#clients.get(client)?.sessions?.fromClient(client, frame),
      gone: (client, reason) => this.#gone(client, reason),
      isGuestFull: (client) => this.#clients.get(client)?.sessions?.isFull ?? false,
      wait: (client) => this.#clients.get(client)?.sessions?.wait(client),
    }
  }

  /** Listens; a socket file that a dead daemon left is replaced. Rejects as `listen` fails. */
  async listen(): Promise<void> {
    await rm(this.#options.path, { force: true })
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ path: this.#options.path, backlog: 1024 }, resolve)
    })
    await chmod(this.#options.path, 0o666)
  }

  /** Closes all connections; no task is killed: each vmrm-run comes back when there is a daemon again. */
  async close(): Promise<void> {
    this.#state = 'closing'
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const sessions of this.#byVm.values()) sessions.detach()
    this.#byVm.clear()
    for (const client of [...this.#clients.keys()]) client.drop('vmrmd stops')
    await closed
  }

  /** Begins to route a VM's frames, as a restarted daemon must before any client comes: unclaimed sessions end after the grace. */
  attachChannel(channel: GuestChannel): void {
    this.#sessionsOf(channel)
  }

  /** The VM is gone for good: its tasks print `text` and end. */
  vmLost(vm: string, text: string): void {
    this.#byVm.get(vm)?.lost(text)
    this.#byVm.delete(vm)
  }

  /** How many frames of sessions that do not exist a VM has sent. */
  droppedFrames(vm: string): number {
    return this.#byVm.get(vm)?.droppedFrames ?? 0
  }

  #sessionsOf(channel: GuestChannel): VmSessions {
    const known = this.#byVm.get(channel.vm)
    if (known?.channel === channel) return known
    const sessions = new VmSessions({
      channel,
      log: this.#options.log,
      orphanGraceMs: this.#options.orphanGraceMs,
      isClaimed: (session) => [...this.#clients.values()].some((c) => c.claims === session),
    })
    this.#byVm.set(channel.vm, sessions)
    for (const client of known?.detach() ?? []) {
      const entry = this.#clients.get(client)
      if (entry === undefined) continue
      entry.sessions = sessions
      sessions.add(client)
      if (channel.state === 'ready') client.reset()
      client.proceed()
    }
    return sessions
  }

  #accept(socket: Socket): void {
    let uid: number
    try {
      uid = this.#options.peerCredentials(socket).uid
    } catch (error) {
      this.#options.log.warn('task.unknown-peer', { text: String(error) })
      socket.destroy()
      return
    }
    const client = new TaskClient({ socket, uid, events: this.#events })
    this.#clients.set(client, { stop: new AbortController(), claims: 0n })
    const count = uid === 0 ? 0 : [...this.#clients.keys()].filter((other) => other.uid === uid).length
    if (count > this.#options.maxClientsPerUid) {
      client.refuse(`vmrm: You have ${this.#options.maxClientsPerUid} tasks on this node already.\n`, 75)
    }
  }

  async #attach(client: TaskClient, fields: AttachFields): Promise<void> {
    const entry = this.#clients.get(client)
    if (entry === undefined) return
    entry.claims = fields.session
    const { session: _session, resumed: _resumed, ...request } = fields
    try {
      const admission = await this.#options.admit({ ...request, uid: client.uid }, entry.stop.signal)
      if (!this.#clients.has(client)) return
      if (admission.outcome === 'refused') return client.refuse(admission.text, admission.exitCode)
      const sessions = this.#sessionsOf(admission.channel)
      const holder = sessions.clientOf(fields.session)
      if (holder !== undefined && holder.uid !== client.uid) return client.drop('the session is another user’s')
      if (sessions.calls.has(fields.session)) return client.drop('the session is a call’s')
      entry.sessions = sessions
      entry.jobId = fields.jobId
      client.calls = admission.calls ?? 'refused'
      client.attached(admission)
      sessions.add(client)
    } catch (error) {
      if (!this.#clients.has(client)) return
      const failure = toVmrmError(error)
      this.#options.log.warn('task.not-admitted', { job: fields.jobId, text: failure.message })
      client.refuse(renderForUser(failure), 1)
    } finally {
      entry.claims = 0n
    }
  }

  /** The task that a call came from, where this client's user has it and the job is the one he says. */
  #parentOf(client: TaskClient, fields: ServeFields): { task: TaskClient; sessions: VmSessions } | undefined {
    for (const sessions of this.#byVm.values()) {
      const task = sessions.clientOf(fields.parent)
      if (task === undefined || task.uid !== client.uid || task.calls === 'refused') continue
      if (this.#clients.get(task)?.jobId === fields.jobId) return { task, sessions }
    }
    return undefined
  }

  async #serve(client: TaskClient, fields: ServeFields): Promise<void> {
    const entry = this.#clients.get(client)
    if (entry === undefined) return
    const parent = this.#parentOf(client, fields)
    const claim = parent?.sessions.calls.claim(client, fields)
    if (parent === undefined || claim?.outcome !== 'granted') {
      const isRecovering = performance.now() - this.#startedMs < this.#options.orphanGraceMs
      if (isRecovering && claim?.outcome !== 'refused') return client.drop(notYet)
      return client.refuse('vmrm: the command that asked for this has ended\n', 1)
    }
    const { sessions } = parent
    entry.sessions = sessions
    const refuse = (text: string, exitCode: number) => {
      sessions.calls.refuse(fields.session, text)
      client.refuse(text, exitCode)
    }
    try {
      const { uid } = client
      const vm = sessions.channel.vm
      const admission = await this.#options.admitCall({ jobId: fields.jobId, vm, command: claim.command, uid })
      if (!this.#clients.has(client)) return
      if (admission.outcome === 'refused') return refuse(admission.text, admission.exitCode)
      client.attached({ vm, ...admission })
      sessions.calls.serve(client)
    } catch (error) {
      if (!this.#clients.has(client)) return
      const failure = toVmrmError(error)
      this.#options.log.warn('call.not-admitted', { job: fields.jobId, text: failure.message })
      refuse(renderForUser(failure), 1)
    }
  }

  #gone(client: TaskClient, reason: string): void {
    const entry = this.#clients.get(client)
    this.#clients.delete(client)
    entry?.stop.abort()
    if (this.#state === 'closing') return
    this.#options.log.debug('task.gone', { uid: client.uid, reason })
    entry?.sessions?.remove(client)
  }
}

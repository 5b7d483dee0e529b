// task.sock: lets each vmrm-run have its one session in its job's VM. It owns the socket; who may enter which VM is `admit`'s to say.
import { chmod, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import type { Log } from '../../log.ts'
import type { GuestChannel } from '../channel/channel.ts'
import type { Admission, AttachRequest, CallAdmission, CallRequest } from './admission.ts'
import { type ClientEntry, Reception } from './reception.ts'
import { TaskClient, type TaskClientEvents } from './task-client.ts'
import { VmTable } from './vm-table.ts'

export interface PeerCredentials {
  readonly uid: number
  readonly gid: number
  readonly pid: number
}

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

export class TaskServer {
  readonly #options: Required<TaskServerOptions>
  readonly #server: Server
  readonly #clients = new Map<TaskClient, ClientEntry>()
  readonly #vms: VmTable
  readonly #reception: Reception
  readonly #events: TaskClientEvents
  #state: 'open' | 'closing' = 'open'

  constructor(options: TaskServerOptions) {
    this.#options = { orphanGraceMs: 15_000, maxClientsPerUid: 1024, ...options }
    const { log, orphanGraceMs, admit, admitCall } = this.#options
    this.#vms = new VmTable({
      ...{ log, orphanGraceMs },
      isClaimed: (session) => [...this.#clients.values()].some((client) => client.claims === session),
      moved: (client, sessions) => {
        const entry = this.#clients.get(client)
        if (entry === undefined) return 'gone'
        entry.sessions = sessions
        return 'there'
      },
    })
    this.#reception = new Reception({ log, orphanGraceMs, admit, admitCall, vms: this.#vms, clients: this.#clients })
    this.#server = createServer({ allowHalfOpen: false }, (socket) => this.#accept(socket))
    this.#events = {
      attach: (client, fields) => void this.#reception.attach(client, fields),
      serve: (client, fields) => void this.#reception.serve(client, fields),
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
    this.#vms.clear()
    for (const client of [...this.#clients.keys()]) client.drop('vmrmd stops')
    await closed
  }

  /** Begins to route a VM's frames, as a restarted daemon must before any client comes: unclaimed sessions end after the grace. */
  attachChannel(channel: GuestChannel): void {
    this.#vms.of(channel)
  }

  /** The VM is gone for good: its tasks print `text` and end. */
  vmLost(vm: string, text: string): void {
    this.#vms.lost(vm, text)
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

  #gone(client: TaskClient, reason: string): void {
    const entry = this.#clients.get(client)
    this.#clients.delete(client)
    entry?.stop.abort()
    if (this.#state === 'closing') return
    this.#options.log.debug('task.gone', { uid: client.uid, reason })
    entry?.sessions?.remove(client)
  }
}

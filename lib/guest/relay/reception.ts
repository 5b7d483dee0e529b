// What a client that has come to task.sock is answered: a place in a VM, a call to serve, or why not. Who may is its owner's to say.
import { renderForUser, toVmrmError } from '../../errors/vmrm-error.ts'
import type { Log } from '../../log.ts'
import type { Admission, AttachRequest, CallAdmission, CallRequest } from './admission.ts'
import type { AttachFields, ServeFields } from './attach.ts'
import type { TaskClient } from './task-client.ts'
import type { VmSessions } from './vm-sessions.ts'
import type { VmTable } from './vm-table.ts'

export interface ReceptionOptions {
  readonly log: Log
  readonly vms: VmTable
  /** Every client that is there. */
  readonly clients: ReadonlyMap<TaskClient, ClientEntry>
  readonly admit: (request: AttachRequest, signal: AbortSignal) => Promise<Admission>
  readonly admitCall: (request: CallRequest) => Promise<CallAdmission>
  /** So long after the start vmrm-run and servers of calls may still come back to a vmrmd that was restarted. */
  readonly orphanGraceMs: number
}

export interface ClientEntry {
  readonly stop: AbortController
  claims: bigint
  jobId?: string
  sessions?: VmSessions
}

/** A server of a call comes again at once; it gives up by itself. */
const notYet = 'its task may not have come back yet'

export class Reception {
  readonly #startedMs = performance.now()
  readonly #options: ReceptionOptions

  constructor(options: ReceptionOptions) {
    this.#options = options
  }

  async attach(client: TaskClient, fields: AttachFields): Promise<void> {
    const entry = this.#options.clients.get(client)
    if (entry === undefined) return
    entry.claims = fields.session
    const { session: _session, resumed: _resumed, ...request } = fields
    try {
      const admission = await this.#options.admit({ ...request, uid: client.uid }, entry.stop.signal)
      if (!this.#options.clients.has(client)) return
      if (admission.outcome === 'refused') return client.refuse(admission.text, admission.exitCode)
      const sessions = this.#options.vms.of(admission.channel)
      const holder = sessions.clientOf(fields.session)
      if (holder !== undefined && holder.uid !== client.uid) return client.drop('the session is another user’s')
      if (sessions.calls.has(fields.session)) return client.drop('the session is a call’s')
      entry.sessions = sessions
      entry.jobId = fields.jobId
      client.calls = admission.calls ?? 'refused'
      client.attached(admission)
      sessions.add(client)
    } catch (error) {
      if (!this.#options.clients.has(client)) return
      const failure = toVmrmError(error)
      this.#options.log.warn('task.not-admitted', { job: fields.jobId, text: failure.message })
      client.refuse(renderForUser(failure), 1)
    } finally {
      entry.claims = 0n
    }
  }

  /** The task that a call came from, where this client's user has it and the job is the one he says. */
  #parentOf(client: TaskClient, fields: ServeFields): { task: TaskClient; sessions: VmSessions } | undefined {
    for (const sessions of this.#options.vms.all()) {
      const task = sessions.clientOf(fields.parent)
      if (task === undefined || task.uid !== client.uid || task.calls === 'refused') continue
      if (this.#options.clients.get(task)?.jobId === fields.jobId) return { task, sessions }
    }
    return undefined
  }

  async serve(client: TaskClient, fields: ServeFields): Promise<void> {
    const entry = this.#options.clients.get(client)
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
      if (!this.#options.clients.has(client)) return
      if (admission.outcome === 'refused') return refuse(admission.text, admission.exitCode)
      client.attached({ vm, ...admission })
      sessions.calls.serve(client)
    } catch (error) {
      if (!this.#options.clients.has(client)) return
      const failure = toVmrmError(error)
      this.#options.log.warn('call.not-admitted', { job: fields.jobId, text: failure.message })
      refuse(renderForUser(failure), 1)
    }
  }
}

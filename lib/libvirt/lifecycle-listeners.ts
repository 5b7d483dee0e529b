// Who is told of lifecycle events. A listener that throws must never harm the connection or another listener.
import type { Log } from '../log.ts'
import type { LifecycleEvent } from './connection.ts'
import type { Packet } from './packet.ts'
import { lifecycleEventProcedure, lifecycleEvents, lifecyclePayload, programs } from './protocol.ts'
import { XdrReader } from './xdr.ts'

type Listener = (event: LifecycleEvent) => void

export class LifecycleListeners {
  readonly #listeners = new Set<Listener>()
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  add(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Messages other than lifecycle events are left alone. Throws XdrError for one that cannot be read: an event would be missed. */
  receive(packet: Packet): void {
    const { program, procedure } = packet.header
    if (program !== programs.remote.number || procedure !== lifecycleEventProcedure) return
    const reader = new XdrReader(packet.payload)
    const payload = lifecyclePayload.read(reader)
    reader.finish()
    const event = lifecycleEvents[payload.event] ?? 'unknown'
    for (const listener of this.#listeners) this.#tell(listener, { domain: payload.dom, event, detail: payload.detail })
  }

  #tell(listener: Listener, event: LifecycleEvent): void {
    try {
      listener(event)
    } catch (error) {
      this.#log.error('libvirt.listener-failed', { vm: event.domain.name, event: event.event, error: String(error) })
    }
  }
}

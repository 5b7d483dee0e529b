// Which calls wait, which are with libvirtd, and whose a reply is. It must never hold more calls in flight than libvirtd will read.
import assert from 'node:assert/strict'
import type { AnyCall } from './call.ts'
import type { Packet } from './packet.ts'
import { messageStatuses, messageTypes } from './protocol.ts'
import { XdrError } from './xdr.ts'

/** More calls than this waiting means that their maker has lost count. */
const maxWaiting = 10_000

export interface CallTableOptions {
  /**
   * Calls with libvirtd at a time, at least 2. At `max_client_requests` (its default is 5, one of which is the one being read)
   * libvirtd stops reading, and then answers no ping either.
   */
  readonly maxInFlight: number
  send(packet: Packet): void
}

/**
 * Serial to caller. One place is kept for high-priority calls (such as destroy), so that a hypervisor that hangs cannot keep them
 * out. A call that was given up keeps its place until libvirtd answers it.
 */
export class CallTable {
  readonly #options: CallTableOptions
  readonly #inFlight = new Map<number, AnyCall>()
  readonly #waiting: Record<'high' | 'low', AnyCall[]> = { high: [], low: [] }
  #lowInFlight = 0
  #lastSerial = 0

  constructor(options: CallTableOptions) {
    assert(options.maxInFlight >= 2, 'one place is kept for high-priority calls')
    this.#options = options
  }

  add(call: AnyCall): void {
    const queue = this.#waiting[call.procedure.priority]
    assert(queue.length < maxWaiting, `${maxWaiting} calls wait for libvirtd`)
    queue.push(call)
    this.#sendNext()
  }

  /** Forgets calls that were given up before they were sent. */
  sweep(): void {
    for (const queue of [this.#waiting.high, this.#waiting.low]) {
      for (let index = queue.length - 1; index >= 0; index--) if (queue[index]?.isSettled) queue.splice(index, 1)
    }
  }

  /** Throws XdrError for a reply that fits no call: then both ends are out of step. */
  answer(packet: Packet): void {
    const { serial, program, version, procedure, status } = packet.header
    const call = this.#inFlight.get(serial)
    if (call === undefined) throw new XdrError(`a reply to serial ${serial}, which nobody asked`)
    const asked = call.procedure
    if (program !== asked.program.number || version !== asked.program.version || procedure !== asked.number)
      throw new XdrError(`a reply to ${asked.name} that is of procedure ${procedure} of program ${program}`)
    if (status !== messageStatuses.ok && status !== messageStatuses.error)
      throw new XdrError(`a reply to ${asked.name} with status ${status}`)
    this.#inFlight.delete(serial)
    if (asked.priority === 'low') this.#lowInFlight--
    call.answer(packet)
    this.#sendNext()
  }

  /** Every waiter fails now, with the error made for it. */
  failAll(errorFor: (call: AnyCall) => unknown): void {
    const calls = [...this.#inFlight.values(), ...this.#waiting.high, ...this.#waiting.low]
    this.#inFlight.clear()
    this.#waiting.high.length = 0
    this.#waiting.low.length = 0
    this.#lowInFlight = 0
    for (const call of calls) call.fail(errorFor(call))
  }

  #sendNext(): void {
    for (let call = this.#takeNext(); call !== undefined; call = this.#takeNext()) {
      const serial = this.#nextSerial()
      this.#inFlight.set(serial, call)
      if (call.procedure.priority === 'low') this.#lowInFlight++
      call.markSent()
      this.#options.send({
        header: {
          program: call.procedure.program.number,
          version: call.procedure.program.version,
          procedure: call.procedure.number,
          type: messageTypes.call,
          serial,
          status: messageStatuses.ok,
        },
        payload: call.payload,
      })
    }
  }

  #takeNext(): AnyCall | undefined {
    const { maxInFlight } = this.#options
    if (this.#inFlight.size >= maxInFlight) return undefined
    const isRoomForLow = this.#lowInFlight < maxInFlight - 1
    return this.#waiting.high.shift() ?? (isRoomForLow ? this.#waiting.low.shift() : undefined)
  }

  /** 1 to 2^32-1, round and round; 0 is for messages that answer nothing. */
  #nextSerial(): number {
    do this.#lastSerial = (this.#lastSerial % 0xffffffff) + 1
    while (this.#inFlight.has(this.#lastSerial))
    return this.#lastSerial
  }
}

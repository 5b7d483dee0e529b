// One socket to libvirtd: packets out, packets in, keep-alive, and its end. It never knows what a domain is.
import type net from 'node:net'
import { VmrmError } from '../errors/vmrm-error.ts'
import type { Log } from '../log.ts'
import { Call, type CallOptions } from './call.ts'
import { CallTable } from './call-table.ts'
import { KeepAlive } from './keepalive.ts'
import { encodePacket, type Packet, PacketSplitter } from './packet.ts'
import { keepaliveProcedures, messageStatuses, messageTypes, type Procedure, programs } from './protocol.ts'
import { XdrError } from './xdr.ts'

export interface ChannelOptions {
  readonly socketPath: string
  readonly log: Log
  /** Default deadline of a call. */
  readonly callTimeoutMs: number
  readonly maxCallsInFlight: number
  readonly maxPacketBytes: number
  /** A message that answers no call (an event). Throwing XdrError ends the channel. */
  onMessage(packet: Packet): void
}

type CloseListener = (reason: VmrmError) => void

export class Channel {
  readonly #options: ChannelOptions
  readonly #socket: net.Socket
  readonly #splitter: PacketSplitter
  readonly #calls: CallTable
  readonly #closeListeners = new Set<CloseListener>()
  #keepAlive: KeepAlive | undefined
  #end: { readonly by: 'us' | 'loss'; readonly reason: VmrmError } | undefined

  /** Takes over a socket that is connected. */
  constructor(socket: net.Socket, options: ChannelOptions) {
    this.#socket = socket
    this.#options = options
    this.#splitter = new PacketSplitter(options.maxPacketBytes)
    // Packets are small and the socket is local: what the kernel does not take at once waits in memory, while we go on reading.
    this.#calls = new CallTable({
      maxInFlight: options.maxCallsInFlight,
      send: (packet) => this.#socket.write(encodePacket(packet)),
    })
    socket.on('data', (chunk) => this.#receive(chunk))
    socket.on('error', (error) => this.#lose(`libvirtd's socket failed: ${error.message}`, error))
    socket.on('end', () => this.#lose('libvirtd closed the connection'))
    socket.on('close', () => this.#lose('the connection to libvirtd was closed'))
  }

  /** Rejects with the call's LibvirtError, `libvirt-timeout`, `libvirt-unreachable`, `message-invalid` or the signal's reason. */
  async call<Args, Reply>(
    procedure: Procedure<Args, Reply>,
    args: Args,
    options: CallOptions & { readonly action: string },
  ): Promise<Reply> {
    const { action, signal, timeoutMs = this.#options.callTimeoutMs } = options
    if (this.#end !== undefined) throw this.#unreachable(action, this.#end.reason)
    const call = new Call({ procedure, args, action, timeoutMs, signal }, () => this.#calls.sweep())
    this.#calls.add(call)
    return call.promise
  }

  startKeepAlive(options: { intervalMs: number; maxUnanswered: number }): void {
    if (this.#end !== undefined) return
    this.#keepAlive = new KeepAlive({
      ...options,
      sendPing: () => this.#sendKeepAlive(keepaliveProcedures.ping),
      onDead: (silentForMs) => this.#lose(`libvirtd has been silent for more than ${silentForMs} ms, also when pinged`),
    })
  }

  /** Called once when the connection is lost (at once if it was lost before), never for a close of our own. Returns its removal. */
  onClose(listener: CloseListener): () => void {
    if (this.#end?.by === 'loss') {
      const { reason } = this.#end
      queueMicrotask(() => listener(reason))
      return () => {}
    }
    this.#closeListeners.add(listener)
    return () => this.#closeListeners.delete(listener)
  }

  /** Ends it; calls under way fail with `libvirt-unreachable`. */
  close(): void {
    this.#finish('us', new VmrmError('libvirt-unreachable', 'vmrm closed its connection to libvirtd'))
  }

  #receive(chunk: Buffer): void {
    this.#keepAlive?.heard()
    try {
      for (const packet of this.#splitter.push(chunk)) {
        if (this.#end !== undefined) return
        this.#dispatch(packet)
      }
    } catch (error) {
      if (!(error instanceof XdrError)) throw error
      this.#lose(`libvirtd sent what the protocol does not allow: ${error.message}`, error)
    }
  }

  #dispatch(packet: Packet): void {
    const { program, procedure, type } = packet.header
    if (type === messageTypes.reply) this.#calls.answer(packet)
    else if (type !== messageTypes.message) throw new XdrError(`a packet of type ${type} that nobody asked for`)
    else if (program !== programs.keepalive.number) this.#options.onMessage(packet)
    else if (procedure === keepaliveProcedures.ping) this.#sendKeepAlive(keepaliveProcedures.pong)
  }

  #sendKeepAlive(procedure: number): void {
    const { number: program, version } = programs.keepalive
    const header = { program, version, procedure, type: messageTypes.message, serial: 0, status: messageStatuses.ok }
    this.#socket.write(encodePacket({ header, payload: Buffer.alloc(0) }))
  }

  #lose(message: string, cause?: unknown): void {
    const text = `${message} (${this.#options.socketPath})`
    this.#finish('loss', new VmrmError('libvirt-unreachable', text, { cause }))
  }

  #finish(by: 'us' | 'loss', reason: VmrmError): void {
    if (this.#end !== undefined) return
    this.#end = { by, reason }
    this.#keepAlive?.stop()
    this.#socket.destroy()
    this.#calls.failAll((call) => this.#unreachable(call.action, reason))
    if (by === 'loss') {
      this.#options.log.warn('libvirt.lost', { reason: reason.message })
      for (const listener of this.#closeListeners) listener(reason)
    }
    this.#closeListeners.clear()
  }

  #unreachable(action: string, reason: VmrmError): VmrmError {
    return new VmrmError('libvirt-unreachable', `cannot ${action}: ${reason.message}`, { cause: reason })
  }
}

// A libvirtd for tests, complete in what lib/libvirt asks of one: stateful domains, events, keep-alive, and faults on demand.
import { mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Packet, PacketSplitter } from '../../../lib/libvirt/packet.ts'
import {
  errorPayload,
  keepaliveProcedures,
  lifecycleEventProcedure,
  lifecyclePayload,
  messageStatuses,
  messageTypes,
  programs,
} from '../../../lib/libvirt/protocol.ts'
import { XdrReader, XdrWriter } from '../../../lib/libvirt/xdr.ts'
import type { XdrType } from '../../../lib/libvirt/xdr-type.ts'
import { answersFor, type FakeClient, type FakeSettings, type ProcedureName, procedureOf } from './answers.ts'
import { FakeDomains, FakeRefusal } from './domains.ts'
import { FakeWire } from './wire.ts'

interface HeldReply {
  readonly name: ProcedureName
  readonly serial: number
  send(): void
}

function encode<T>(type: XdrType<T>, value: T): Buffer {
  const writer = new XdrWriter()
  type.write(writer, value)
  return writer.finish()
}

class Client implements FakeClient {
  isSubscribed = false
  readonly wire: FakeWire
  readonly socket: net.Socket
  constructor(socket: net.Socket) {
    this.socket = socket
    this.wire = new FakeWire(socket)
  }
}

export class FakeLibvirtd {
  readonly socketPath: string
  readonly domains: FakeDomains
  /** Names of procedures whose replies are kept in `held` until somebody sends them, in any order. */
  readonly holding = new Set<ProcedureName>()
  readonly held: HeldReply[] = []
  readonly received: ProcedureName[] = []
  readonly counts = { pings: 0, pongs: 0, connections: 0 }
  isAnsweringPings = true
  readonly #folder = mkdtempSync(join(tmpdir(), 'vmrm-fake-libvirtd-'))
  readonly #clients = new Set<Client>()
  readonly #server: net.Server
  readonly #settings: FakeSettings

  private constructor(settings: Partial<FakeSettings>) {
    this.#settings = { authTypes: [0], isKeepAliveSupported: true, ...settings }
    this.socketPath = join(this.#folder, 'socket')
    this.domains = new FakeDomains((dom, event, detail) => {
      const payload = encode(lifecyclePayload, { callbackId: 7, dom, event, detail })
      for (const client of this.#clients)
        if (client.isSubscribed) this.sendMessage(client, programs.remote, lifecycleEventProcedure, payload)
    })
    this.#server = net.createServer((socket) => this.#accept(socket))
  }

  static async start(settings: Partial<FakeSettings> = {}): Promise<FakeLibvirtd> {
    const fake = new FakeLibvirtd(settings)
    await new Promise<void>((resolve) => fake.#server.listen(fake.socketPath, resolve))
    return fake
  }

  /** The only client; tests with more than one find theirs by itself. */
  get client(): { wire: FakeWire; socket: net.Socket } {
    const [client] = this.#clients
    if (client === undefined || this.#clients.size > 1) throw new Error(`${this.#clients.size} clients`)
    return client
  }

  get openConnections(): number {
    return this.#clients.size
  }

  ping(): void {
    for (const client of this.#clients)
      this.sendMessage(client, programs.keepalive, keepaliveProcedures.ping, Buffer.alloc(0))
  }

  sendMessage(
    client: { wire: FakeWire },
    program: { readonly number: number; readonly version: number },
    procedure: number,
    payload: Buffer,
  ): void {
    const { number, version } = program
    const type = messageTypes.message
    client.wire.send({
      header: { program: number, version, procedure, type, serial: 0, status: messageStatuses.ok },
      payload,
    })
  }

  /** Ends all connections at once, as a crash does. */
  dropAll(): void {
    for (const client of this.#clients) client.socket.destroy()
  }

  async stop(): Promise<void> {
    this.dropAll()
    await new Promise((resolve) => this.#server.close(resolve))
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #accept(socket: net.Socket): void {
    const client = new Client(socket)
    const splitter = new PacketSplitter()
    this.#clients.add(client)
    this.counts.connections++
    socket.on('data', (chunk) => {
      for (const packet of splitter.push(chunk)) this.#receive(client, packet)
    })
    socket.on('error', () => {}) // the client went first
    socket.on('close', () => {
      this.#clients.delete(client)
      this.domains.ownerGone(client)
    })
  }

  #receive(client: Client, packet: Packet): void {
    const { program, procedure } = packet.header
    if (program !== programs.keepalive.number) {
      this.#answer(client, packet)
    } else if (procedure === keepaliveProcedures.pong) {
      this.counts.pongs++
    } else {
      this.counts.pings++
      if (this.isAnsweringPings) this.sendMessage(client, programs.keepalive, keepaliveProcedures.pong, Buffer.alloc(0))
    }
  }

  #answer(client: Client, packet: Packet): void {
    const known = procedureOf(packet.header.program, packet.header.procedure)
    if (known === undefined) throw new Error(`the fake knows no procedure ${packet.header.procedure}`)
    const { name, procedure } = known
    this.received.push(name)
    const reader = new XdrReader(packet.payload)
    const args = procedure.args.read(reader)
    reader.finish()
    const reply = (status: number, payload: Buffer): void => {
      const send = (): void => {
        client.wire.send({ header: { ...packet.header, type: messageTypes.reply, status }, payload })
        if (name === 'connectClose') client.wire.end()
      }
      if (this.holding.has(name)) this.held.push({ name, serial: packet.header.serial, send })
      else send()
    }
    try {
      const value = answersFor(client, this.domains, this.#settings)[name](args)
      reply(messageStatuses.ok, encode(procedure.reply, value))
    } catch (error) {
      if (!(error instanceof FakeRefusal)) throw error
      reply(messageStatuses.error, encode(errorPayload, refusalPayload(error)))
    }
  }
}

/** As libvirt's QEMU driver would word it: domain 10, level 2 (error). */
function refusalPayload(refusal: FakeRefusal) {
  const empty = { dom: undefined, str1: refusal.message, str2: undefined, str3: undefined, net: undefined }
  return { code: refusal.code, domain: 10, message: refusal.message, level: 2, int1: -1, int2: -1, ...empty }
}

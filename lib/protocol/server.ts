// Answers messages over local sockets and TCP, with one set of handlers. It owns the listening sockets and who is at
// the other end of each connection; handlers see typed requests of callers who may send them, and nothing else.
import type { Server, Socket } from 'node:net'
import type { MungeOptions } from '../munge/client.ts'
import { type DispatchOptions, dispatch } from './dispatch.ts'
import { Admission, type ServerLimits } from './transport/admission.ts'
import type { Caller, PeerCredentials } from './transport/caller.ts'
import { plainServerChannel } from './transport/channel.ts'
import { listen, portOf } from './transport/listen.ts'
import { mungeServerChannel } from './transport/munge-channel.ts'

export type { CallContext, Handlers } from './dispatch.ts'
export type { ServerLimits } from './transport/admission.ts'
export type { Caller, PeerCredentials } from './transport/caller.ts'

export const defaultServerLimits: ServerLimits = {
  readTimeoutMs: 10_000,
  idleTimeoutMs: 60_000,
  requestsPerConnection: 64,
  pendingReplyBytes: 4 * 1024 * 1024,
  connections: 1_024,
  connectionsPerUser: 64,
}

export type Listen =
  | {
      readonly kind: 'local'
      readonly path: string
      /** Of the socket's file; default 0666: the credentials decide, not the file. */
      readonly mode?: number
      readonly peerCredentials: (socket: Socket) => Promise<PeerCredentials> | PeerCredentials
    }
  | {
      readonly kind: 'munge'
      readonly host: string
      /** 0: any free one. */
      readonly port: number
      /** This daemon's name: the node's, or `controller`. */
      readonly name: string
      /** The uid this process runs as, to which callers seal. */
      readonly ownUid: number
      readonly munge?: MungeOptions
    }

export interface ServerOptions extends DispatchOptions {
  readonly listen: readonly Listen[]
  readonly limits?: Partial<ServerLimits>
  /** Called when it is known who connected, and again when that connection has ended. */
  readonly onPeer?: (caller: Caller, change: 'connected' | 'gone') => void
}

export interface ProtocolServer {
  /** The TCP port, where one is listened on. */
  readonly port: number | undefined
  /** Takes no new work, lets running calls finish for at most `graceMs` (default 5 s), then ends every connection. */
  close(options?: { graceMs?: number }): Promise<void>
}

/** Takes a new socket of one address to a channel. */
async function receive(socket: Socket, listening: Listen, options: ServerOptions, admission: Admission): Promise<void> {
  // A socket without a listener for errors would end the process.
  socket.on('error', () => {})
  if (listening.kind === 'munge') {
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 15_000)
    const end = { name: listening.name, ownUid: listening.ownUid, munge: listening.munge ?? {} }
    admission.admit(socket, mungeServerChannel({ ...end, trustedUids: options.trustedUids }), undefined)
    return
  }
  try {
    const caller: Caller = { from: 'local', ...(await listening.peerCredentials(socket)) }
    admission.admit(socket, plainServerChannel(caller), caller)
  } catch (error) {
    options.log.error('protocol.peer-unknown', { reason: (error as Error).message })
    socket.destroy()
  }
}

/** Resolves when every address is listened on; throws `config-invalid` (and listens on none) where one cannot be had. */
export async function createServer(options: ServerOptions): Promise<ProtocolServer> {
  const admission = new Admission({
    trustedUids: options.trustedUids,
    limits: { ...defaultServerLimits, ...options.limits },
    log: options.log,
    onPeer: options.onPeer,
    serve: (request) => dispatch(options, request),
  })
  const servers: Server[] = []
  const stop = () => Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  try {
    for (const listening of options.listen) {
      const address = listening.kind === 'local' ? { ...listening, mode: listening.mode ?? 0o666 } : listening
      servers.push(await listen(address, (socket) => void receive(socket, listening, options, admission)))
    }
  } catch (error) {
    await stop()
    throw error
  }
  return {
    port: servers.map(portOf).find((port) => port !== undefined),
    async close({ graceMs = 5_000 } = {}) {
      const stopped = stop()
      await admission.drain(graceMs)
      await stopped
    },
  }
}

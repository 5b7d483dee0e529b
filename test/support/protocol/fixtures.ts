// What the protocol's tests share: servers and clients over both transports.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { createLog } from '../../../lib/log.ts'
import { type Connect, createClient, type ProtocolClient } from '../../../lib/protocol/client.ts'
import type { Receiver } from '../../../lib/protocol/define.ts'
import { createServer, type Handlers, type ProtocolServer, type ServerLimits } from '../../../lib/protocol/server.ts'
import type { PeerCredentials } from '../../../lib/protocol/transport/caller.ts'
import type { TestMunged } from '../munged.ts'

export const ownUid = process.getuid?.() ?? 0
export const ownGid = process.getgid?.() ?? 0

export interface ServerFixture {
  readonly server: ProtocolServer
  readonly path: string
  /** What the server logged so far. */
  readonly logged: readonly string[]
  /** A client of the given transport, closed when the test ends. */
  client(kind: 'local' | 'munge', change?: object): ProtocolClient
  connectOf(kind: 'local' | 'munge'): Connect
}

export interface ServerFixtureOptions {
  readonly handlers: Handlers
  readonly munged?: TestMunged
  readonly role?: Receiver
  readonly limits?: Partial<ServerLimits>
  readonly trustedUids?: readonly number[]
  /** Who local callers are said to be; default: this process's user. */
  readonly peer?: PeerCredentials
}

export function scratch(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-protocol-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export async function serve(t: Test, options: ServerFixtureOptions): Promise<ServerFixture> {
  const { munged, peer = { uid: ownUid, gid: ownGid, pid: process.pid }, trustedUids = [ownUid] } = options
  const path = join(scratch(t), 'sock')
  const role = options.role ?? 'controller'
  const name = role === 'controller' ? 'controller' : 'n1'
  const munge = munged === undefined ? undefined : { socketPath: munged.socketPath }
  const logged: string[] = []
  const server = await createServer({
    role,
    handlers: options.handlers,
    trustedUids,
    log: createLog({ level: 'info', write: (line) => logged.push(line) }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
    listen: [
      { kind: 'local', path, peerCredentials: () => peer },
      ...(munge === undefined ? [] : [{ kind: 'munge', host: '127.0.0.1', port: 0, name, ownUid, munge } as const]),
    ],
  })
  const clients: ProtocolClient[] = []
  t.teardown(async () => {
    for (const client of clients) client.close()
    await server.close({ graceMs: 1_000 })
  })
  const connectOf = (kind: 'local' | 'munge'): Connect => {
    if (kind === 'local') return { kind, path }
    const end = { name: 'user', to: name, ownUid, receiverUid: ownUid, trustedUids: [ownUid], munge: munge ?? {} }
    return { kind, host: '127.0.0.1', port: server.port ?? 0, ...end }
  }
  return {
    server,
    path,
    logged,
    connectOf,
    client(kind, change = {}) {
      const connect = { ...connectOf(kind), ...change } as Connect
      const client = createClient({ connect, unreachable: 'controller-unreachable' })
      clients.push(client)
      return client
    },
  }
}

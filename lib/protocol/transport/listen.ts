// Makes listening sockets. It owns the file of a unix socket: a live one is never taken over, a dead one is replaced.
import { chmod, lstat, unlink } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { VmrmError } from '../../errors/vmrm-error.ts'

export type ListenAddress =
  | { readonly kind: 'local'; readonly path: string; readonly mode: number }
  | { readonly kind: 'munge'; readonly host: string; readonly port: number }

/** The nodes of a large cluster come at the same moment, and who finds no room tries again a second later. The kernel may have a lower bound. */
const backlog = 4096

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

async function removeDeadSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) throw new VmrmError('config-invalid', `${path} exists and is no socket`)
  if (await isAnswered(path)) throw new VmrmError('config-invalid', `Another vmrmd answers on ${path}`)
  await unlink(path)
}

/** A server that listens. Throws `config-invalid` when the address cannot be had. */
export async function listen(address: ListenAddress, onSocket: (socket: Socket) => void): Promise<Server> {
  if (address.kind === 'local') await removeDeadSocket(address.path)
  const server = createServer(onSocket)
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new VmrmError('config-invalid', `Listening failed: ${cause.message}`, { cause })),
    )
    if (address.kind === 'local') server.listen(address.path, resolve)
    else server.listen({ port: address.port, host: address.host, backlog }, resolve)
  })
  if (address.kind === 'local') await chmod(address.path, address.mode)
  return server
}

/** The port a TCP server got, for those who asked for port 0. */
export function portOf(server: Server): number | undefined {
  const address = server.address()
  return typeof address === 'object' ? (address as AddressInfo | null)?.port : undefined
}

// A socket between a client and libvirtd that counts the keep-alive packets going by. It changes nothing.
import net from 'node:net'
import { PacketSplitter } from '../../lib/libvirt/packet.ts'
import { keepaliveProcedures, programs } from '../../lib/libvirt/protocol.ts'

export interface KeepAliveCounts {
  readonly client: { pings: number; pongs: number }
  readonly libvirtd: { pings: number; pongs: number }
}

/** Listens at `listenPath` for connections to `socketPath`; `stop` ends them all. */
export async function startPacketTap(
  listenPath: string,
  socketPath: string,
): Promise<{ counts: KeepAliveCounts; stop(): Promise<void> }> {
  const counts: KeepAliveCounts = { client: { pings: 0, pongs: 0 }, libvirtd: { pings: 0, pongs: 0 } }
  const sockets = new Set<net.Socket>()
  const join = (from: net.Socket, to: net.Socket, sender: keyof KeepAliveCounts): void => {
    const splitter = new PacketSplitter()
    sockets.add(from)
    from.on('data', (chunk) => {
      for (const { header } of splitter.push(chunk)) {
        if (header.program !== programs.keepalive.number) continue
        counts[sender][header.procedure === keepaliveProcedures.ping ? 'pings' : 'pongs']++
      }
      to.write(chunk)
    })
    from.on('error', () => to.destroy())
    from.on('close', () => {
      sockets.delete(from)
      to.end()
    })
  }
  const server = net.createServer((client) => {
    const libvirtd = net.createConnection({ path: socketPath })
    join(client, libvirtd, 'client')
    join(libvirtd, client, 'libvirtd')
  })
  await new Promise<void>((resolve) => server.listen(listenPath, resolve))
  const stop = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  }
  return { counts, stop }
}

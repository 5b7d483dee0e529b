// Stands in for QEMU's virtio-serial port: the agent's end and vmrmd's end are two sockets. What comes while no host is connected is lost.
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'

export class PortBridge {
  readonly hostPath: string
  /** Bytes of the guest that nobody got. */
  lostBytes = 0
  #guest: Socket | undefined
  #host: Socket | undefined
  readonly #servers: Server[] = []

  constructor(hostPath: string) {
    this.hostPath = hostPath
  }

  async listen(guestPath: string): Promise<void> {
    this.#servers.push(
      createServer((socket) => this.#onGuest(socket)),
      createServer((socket) => this.#onHost(socket)),
    )
    for (const [at, path] of [guestPath, this.hostPath].entries()) {
      this.#servers[at]?.listen(path)
      await once(this.#servers[at] as Server, 'listening')
    }
  }

  /** Cuts vmrmd's end, as a vmrmd that is killed does: what is under way either way is lost. */
  cutHost(): void {
    this.lostBytes += this.#host?.writableLength ?? 0
    this.#host?.destroy()
    this.#host = undefined
    this.#guest?.resume()
  }

  /** Bytes of a guest that has gone wild. */
  writeAsGuest(bytes: Buffer): void {
    this.#host?.write(bytes)
  }

  close(): void {
    for (const server of this.#servers) server.close()
    this.#guest?.destroy()
    this.#host?.destroy()
  }

  #onGuest(socket: Socket): void {
    this.#guest = socket
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      if (this.#host === undefined) this.lostBytes += chunk.length
      else if (!this.#host.write(chunk)) socket.pause()
    })
  }

  #onHost(socket: Socket): void {
    this.#host?.destroy()
    this.#host = socket
    this.#guest?.resume()
    socket.on('error', () => {})
    socket.on('drain', () => this.#guest?.resume())
    socket.on('data', (chunk: Buffer) => {
      if (this.#guest?.write(chunk) === false) {
        socket.pause()
        this.#guest.once('drain', () => socket.resume())
      }
    })
    socket.on('close', () => {
      if (this.#host !== socket) return
      this.#host = undefined
      this.#guest?.resume()
    })
  }
}

// QEMU's monitor over its unix socket, for VMs that tests run without libvirt. It owns one connection.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

interface Answer {
  readonly return?: unknown
  readonly error?: { readonly desc: string }
}

export class Qmp {
  readonly #socket: Socket
  readonly #lines: AsyncIterator<string>

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#lines = createInterface({ input: socket })[Symbol.asyncIterator]()
  }

  /** Tries until QEMU listens. */
  static async connect(path: string): Promise<Qmp> {
    for (let tries = 0; ; tries++) {
      const socket = connect(path)
      const error = await Promise.race([once(socket, 'connect').then(() => undefined), once(socket, 'error')])
      if (error !== undefined && tries < 500) {
        await delay(10)
        continue
      }
      const qmp = new Qmp(socket)
      await qmp.run('qmp_capabilities')
      return qmp
    }
  }

  async run(execute: string, args: object = {}): Promise<unknown> {
    this.#socket.write(JSON.stringify({ execute, arguments: args }))
    for (;;) {
      const { value, done } = await this.#lines.next()
      if (done) throw new Error(`${execute}: QEMU closed its monitor`)
      const answer = JSON.parse(value) as Answer
      if (answer.error !== undefined) throw new Error(`${execute}: ${answer.error.desc}`)
      if ('return' in answer) return answer.return
    }
  }

  close(): void {
    this.#socket.destroy()
  }
}

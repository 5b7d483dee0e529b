// Connects to the unix socket that QEMU listens on for a VM's port, which may not be there yet. It never gives up by itself.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

const retryMs = 25
// Not there yet, or QEMU does not listen yet; anything else does not mend itself.
const passingCodes = ['ENOENT', 'ECONNREFUSED', 'EAGAIN']

/** Retries until `signal` aborts, then rejects with an abort; rejects at once for an error that waiting does not mend. */
export async function connectPort(path: string, signal: AbortSignal): Promise<Socket> {
  for (;;) {
    signal.throwIfAborted()
    const socket = connect({ path })
    try {
      await once(socket, 'connect', { signal })
      return socket
    } catch (error) {
      socket.on('error', () => {})
      socket.destroy()
      if (!passingCodes.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
      await delay(retryMs, undefined, { signal })
    }
  }
}

// Connecting a unix socket within a bound.
import net from 'node:net'
import { VmrmError } from '../errors/vmrm-error.ts'

/** A connected socket. Rejects with `libvirt-unreachable`, or with the signal's reason; then no socket is left open. */
export async function connectSocket(
  socketPath: string,
  options: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<net.Socket> {
  const { timeoutMs, signal } = options
  signal?.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<net.Socket>()
  const socket = net.createConnection({ path: socketPath })
  const unreachable = (why: string, cause?: unknown): VmrmError =>
    new VmrmError('libvirt-unreachable', `cannot reach libvirtd at ${socketPath}: ${why}`, { cause })
  const onError = (error: Error): void => reject(unreachable(error.message, error))
  const onAbort = (): void => reject(signal?.reason)
  const timer = setTimeout(() => reject(unreachable(`no answer within ${timeoutMs} ms`)), timeoutMs)
  socket.once('connect', () => resolve(socket))
  socket.once('error', onError)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    return await promise
  } catch (error) {
    socket.on('error', () => {}) // destroyed below: what it says then is of no interest
    socket.destroy()
    throw error
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
    socket.off('error', onError)
  }
}

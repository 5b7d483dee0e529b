// The stream of a VM's state between QEMU and a file, through a unix socket: QEMU 7.2 cannot migrate to a file, and libvirt's
// sandbox keeps it from starting a program that could. It knows nothing of libvirt; what QEMU is told is the caller's.
import { once } from 'node:events'
import { type FileHandle, lchown, open, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'

/** In the folder of the VM's ports, which QEMU may write to and whose name is short enough for a socket. */
export function stateSocketPath(agentSocketPath: string): string {
  return join(dirname(agentSocketPath), 'state.sock')
}

export interface StateTransfer {
  readonly socketPath: string
  readonly statePath: string
  readonly signal: AbortSignal
}

/**
 * Listens for QEMU, and writes what it sends to a new file, which is on the disk when this returns. `migrate` tells QEMU to
 * connect and resolves when QEMU says that it has sent all; its failure ends the wait. What is left of the file after a
 * failure is the caller's to remove.
 */
export async function receiveState(
  { socketPath, statePath, signal }: StateTransfer,
  { owner, migrate }: { readonly owner: { readonly uid: number; readonly gid: number }; migrate(): Promise<void> },
): Promise<void> {
  await rm(socketPath, { force: true })
  const failed = new AbortController()
  const either = AbortSignal.any([signal, failed.signal])
  const server = createServer()
  const file = await open(statePath, 'wx', 0o600)
  try {
    server.listen(socketPath)
    await once(server, 'listening', { signal })
    await lchown(socketPath, owner.uid, owner.gid)
    const received = once(server, 'connection', { signal: either }).then(([socket]) => copy(socket, file, either))
    const parts = [received, migrate()].map((part) => part.catch((error: unknown) => failed.abort(error)))
    await Promise.all(parts)
    either.throwIfAborted()
    await file.sync()
  } finally {
    server.close()
    await file.close()
    await rm(socketPath, { force: true })
  }
}

async function copy(socket: Socket, file: FileHandle, signal: AbortSignal): Promise<void> {
  const end = () => void socket.destroy(signal.reason)
  signal.addEventListener('abort', end, { once: true })
  try {
    for await (const chunk of socket) await file.writeFile(chunk as Buffer)
  } finally {
    signal.removeEventListener('abort', end)
    socket.destroy()
  }
}

const peerEndCodes: readonly string[] = ['ERR_STREAM_PREMATURE_CLOSE', 'EPIPE', 'ECONNRESET']

/**
 * Sends a file to a QEMU that listens, and returns when QEMU has closed its end: then it has taken it in or has ended, and
 * can be asked which.
 */
export async function sendState({ socketPath, statePath, signal }: StateTransfer): Promise<void> {
  // Before QEMU hears anything: it ends when a connection brings no state.
  const file = await open(statePath)
  const socket = connect(socketPath)
  try {
    // A reset is an end too: QEMU says whether it had all it wanted.
    const closed = once(socket, 'close', { signal }).catch(() => {})
    // QEMU closes as soon as it has read the stream's last byte, which may be before we know that it has been sent.
    await pipeline(file.createReadStream({ autoClose: false }), socket, { signal }).catch((error: unknown) => {
      if (!peerEndCodes.includes((error as NodeJS.ErrnoException).code ?? '')) throw error
    })
    socket.resume()
    await closed
    signal.throwIfAborted()
  } finally {
    socket.destroy()
    await file.close()
    await rm(socketPath, { force: true })
  }
}

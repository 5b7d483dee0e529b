// Bytes between a terminal and a VM's console, both ways and no faster than either takes them. It must never leave the terminal raw.
import type { Socket } from 'node:net'
import { VmrmError } from '../../errors/vmrm-error.ts'

const detachByte = 0x1d // Ctrl-]
const signals = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

export interface Terminal {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
}

/** `ended` once the VM has closed its side and all it said is handed on. Throws `console-failed` where the connection breaks. */
export async function exchange(
  socket: Socket,
  name: string,
  { stdin, stdout }: Terminal = process,
): Promise<'detached' | 'ended'> {
  const { promise, resolve, reject } = Promise.withResolvers<'detached' | 'ended'>()
  const detach = () => resolve('detached')
  for (const signal of signals) process.once(signal, detach)
  const toTerminal = (data: Buffer) => {
    if (stdout.write(data)) return
    socket.pause()
    stdout.once('drain', () => socket.resume())
  }
  const toGuest = (data: Buffer) => {
    const at = data.indexOf(detachByte)
    const isTaken = socket.write(at < 0 ? data : data.subarray(0, at))
    if (at >= 0) return detach()
    // Of a guest that takes nothing a person must get away by Ctrl-].
    if (isTaken || stdin.isTTY) return
    stdin.pause()
    socket.once('drain', () => stdin.resume())
  }
  socket.on('data', toTerminal)
  const atEndOfInput = () => void socket.write(new Uint8Array(), detach)
  socket.once('end', () => resolve('ended'))
  socket.once('close', () => resolve('ended'))
  socket.once('error', (cause) =>
    reject(new VmrmError('console-failed', `the console of VM ${name} broke off: ${cause.message}`, { cause })),
  )
  stdin.on('data', toGuest)
  stdin.once('end', atEndOfInput)
  if (stdin.isTTY) stdin.setRawMode(true)
  try {
    return await promise
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.removeListener('data', toGuest)
    stdin.removeListener('end', atEndOfInput)
    stdin.pause()
    for (const signal of signals) process.removeListener(signal, detach)
    // It goes now, and what breaks while it does changes nothing.
    socket.on('error', () => {})
    socket.destroy()
  }
}

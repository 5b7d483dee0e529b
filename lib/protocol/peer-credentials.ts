// The uid, gid and pid at the other end of a unix socket, as the kernel knows them (SO_PEERCRED).
// Under bun only: node:net has no way to ask, and Node.js no foreign functions. Callers on Node inject their own.
import type { Socket } from 'node:net'
import { VmrmError } from '../errors/vmrm-error.ts'
import type { PeerCredentials } from './transport/caller.ts'

// From Linux's asm-generic/socket.h; struct ucred is three 32-bit numbers: pid, uid, gid.
const solSocket = 1
const soPeercred = 17
const ucredBytes = 12

interface BunFfi {
  dlopen(
    name: string,
    symbols: Record<string, { args: string[]; returns: string }>,
  ): { symbols: { getsockopt(...args: unknown[]): number } }
  ptr(view: ArrayBufferView): unknown
}

let ffi: { readonly getsockopt: (...args: unknown[]) => number; readonly ptr: BunFfi['ptr'] } | undefined

async function loadFfi(): Promise<NonNullable<typeof ffi>> {
  if (ffi !== undefined) return ffi
  if (process.versions.bun === undefined) {
    throw new VmrmError('internal', 'Peer credentials can be read under bun only; on Node.js, inject peerCredentials')
  }
  // A literal, so that bun bundles it; typed as a string, since TypeScript for Node.js does not know the module.
  const name: string = 'bun:ffi'
  const loaded = (await import(name)) as BunFfi
  const library = loaded.dlopen('libc.so.6', {
    getsockopt: { args: ['i32', 'i32', 'i32', 'ptr', 'ptr'], returns: 'i32' },
  })
  ffi = { getsockopt: library.symbols.getsockopt, ptr: loaded.ptr }
  return ffi
}

/**
 * A function that says who connected. It throws `internal` where the socket cannot say: such a connection must be refused.
 * Loading rejects with `internal` under a runtime that has no way to ask.
 */
export async function loadPeerCredentials(): Promise<(socket: Socket) => PeerCredentials> {
  const { getsockopt, ptr } = await loadFfi()
  return (socket) => {
    const fd = (socket as unknown as { _handle?: { fd?: number } })._handle?.fd
    if (typeof fd !== 'number' || fd < 0) throw new VmrmError('internal', 'A connection has no file descriptor to ask')
    const ucred = new Uint32Array(ucredBytes / 4)
    const length = new Uint32Array([ucredBytes])
    const result = getsockopt(fd, solSocket, soPeercred, ptr(ucred), ptr(length))
    if (result !== 0 || length[0] !== ucredBytes) {
      throw new VmrmError('internal', 'The kernel did not say who is at the other end of a socket')
    }
    const [pid = 0, uid = 0, gid = 0] = ucred
    return { uid, gid, pid }
  }
}

/** Who connected, for callers that can wait. */
export async function peerCredentials(socket: Socket): Promise<PeerCredentials> {
  return (await loadPeerCredentials())(socket)
}

// The console logs of a node's VMs while the daemon lives: capped, and read by an offset that goes on counting when a log is cut.
// After a restart of the daemon the count begins anew with what is there.
import { capConsole, readConsole } from '../../vm/console.ts'

export interface Consoles {
  /** Cuts the logs that are larger than they may be, and forgets those that are not among these. */
  cap(paths: readonly string[]): Promise<void>
  read(path: string, offset: number): Promise<{ readonly offset: number; readonly data: Uint8Array }>
}

export function createConsoles(options: { maxBytes: number; partBytes: number }): Consoles {
  const { maxBytes, partBytes } = options
  const dropped = new Map<string, number>()
  let queue: Promise<unknown> = Promise.resolve()
  // One at a time: a log that is being cut is empty for a moment.
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const result = queue.then(work)
    queue = result.catch(() => {})
    return result
  }
  return {
    cap: (paths) =>
      inTurn(async () => {
        for (const path of paths) dropped.set(path, (dropped.get(path) ?? 0) + (await capConsole(path, maxBytes)))
        for (const path of dropped.keys()) if (!paths.includes(path)) dropped.delete(path)
      }),
    read: (path, offset) =>
      inTurn(async () => {
        const before = dropped.get(path) ?? 0
        const { position, data } = await readConsole(path, offset - before, partBytes)
        return { offset: before + position, data }
      }),
  }
}

// One test at a time on a shared thing, over processes: a lock that ends with whoever holds it.
import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** Waits for the lock on this file (made if missing) and returns what gives it back. Rejects after `timeoutMs`. */
export async function lockExclusively(path: string, timeoutMs: number): Promise<() => Promise<void>> {
  const wait = String(Math.ceil(timeoutMs / 1000))
  // The lock lasts until this process closes the pipe, by the returned function or by its own end.
  const holder = spawn('/usr/bin/flock', ['--wait', wait, path, '/bin/sh', '-c', 'echo locked; cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const ended = once(holder, 'exit')
  const outcome = await Promise.race([once(holder.stdout, 'data'), ended.then(() => 'ended' as const)])
  if (outcome === 'ended') throw new Error(`another test holds ${path} for more than ${timeoutMs} ms`)
  return async () => {
    holder.stdin.end()
    await ended
  }
}

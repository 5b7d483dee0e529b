// One process at a time at a VM's console: QEMU serves one, and would let a second one wait without a word. The lock is
// the kernel's, so it goes with its holder, however that ends, and leaves no file.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { VmrmError } from '../../errors/vmrm-error.ts'

export interface ConsoleLock {
  release(): Promise<void>
}

/** flock's own codes are others. */
const takenExit = 117

/**
 * Locks `folder`, which is the VM's own. No runtime here has flock(2), so flock(1) holds it for as long as it can read from
 * this process; it would make a file of what is not there, but for the dot. Throws `console-taken` where another process has it.
 */
export async function lockConsole(folder: string, name: string): Promise<ConsoleLock> {
  const argv = ['--nonblock', '--conflict-exit-code', String(takenExit), `${folder}/.`, '/usr/bin/cat']
  // Detached: keys typed at the terminal are not for it.
  const child = spawn('/usr/bin/flock', argv, { stdio: ['pipe', 'pipe', 'pipe'], detached: true })
  const ended = once(child, 'close').catch((cause: Error) => fail(name, cause.message, cause))
  let said = ''
  child.stderr.on('data', (part: Buffer) => {
    said = (said + part.toString()).slice(-1000)
  })
  // Where flock has ended before it was written to; `ended` tells of that.
  child.stdin.on('error', () => {})
  // What cat says again: the lock is held.
  child.stdin.write('\n')
  const refused = ended.then(([code]) => {
    if (code === takenExit)
      throw new VmrmError('console-taken', `another process on this node is attached to the console of VM ${name}`)
    return fail(name, said.trim() === '' ? `flock ended with ${code}` : said.trim())
  })
  await Promise.race([once(child.stdout, 'data'), refused])
  // It rejects after the release, too, when nobody races with it any more.
  refused.catch(() => {})
  return {
    async release() {
      child.stdin.end()
      await ended
    },
  }
}

function fail(name: string, why: string, cause?: Error): never {
  throw new VmrmError('console-failed', `the console of VM ${name} cannot be locked: ${why}`, { cause })
}

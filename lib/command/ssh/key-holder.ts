// An ssh-agent of our own that holds one key, for as long as this process lives, however that ends. The key must never be
// on a disk, in an argument or in the caller's own agent.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { VmrmError } from '../../errors/vmrm-error.ts'

export interface KeyHolder {
  end(): Promise<void>
}

/** ssh needs it when it logs in only. */
const keepSeconds = 300
/** Its stdin is open as long as this process is there. */
const guard = 'echo ready; cat >/dev/null; kill "$SSH_AGENT_PID"'

/** `socket` is a path in a private folder. */
export async function holdKey(socket: string, key: string): Promise<KeyHolder> {
  // Detached: keys typed at the terminal are for ssh alone.
  const child = spawn('ssh-agent', ['-a', socket, '/bin/sh', '-c', guard], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const ended = failure(child, 'ssh-agent')
  const end = async () => {
    child.stdin.end()
    await ended.catch(() => {})
  }
  try {
    await Promise.race([once(child.stdout, 'data'), ended.then(() => fail('ssh-agent', 'it ended'))])
    await addKey(socket, key)
  } catch (error) {
    await end()
    throw error
  }
  return { end }
}

async function addKey(socket: string, key: string): Promise<void> {
  const child = spawn('ssh-add', ['-q', '-t', String(keepSeconds), '-'], {
    env: { ...process.env, SSH_AUTH_SOCK: socket },
    stdio: ['pipe', 'ignore', 'inherit'],
    // Without a terminal it cannot ask anything.
    detached: true,
  })
  child.stdin.on('error', () => {})
  child.stdin.end(key)
  const code = await failure(child, 'ssh-add')
  if (code !== 0) fail('ssh-add', `exit code ${code}`)
}

/** The exit code; throws where the program could not be started. */
async function failure(child: ChildProcess, name: string): Promise<number | null> {
  const [code] = await once(child, 'exit').catch((cause: NodeJS.ErrnoException) =>
    fail(name, cause.code === 'ENOENT' ? 'OpenSSH is not installed on this host' : cause.message),
  )
  return code as number | null
}

function fail(name: string, why: string): never {
  throw new VmrmError('command-failed', `${name}: ${why}`)
}

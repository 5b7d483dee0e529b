// A real munged with a key, socket and folder of its own, for tests. It never touches the host's munged.
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const startBoundMs = 10_000

export interface TestMunged {
  readonly socketPath: string
  readonly pid: number
  /** The folder, open to every user, that goes with the daemon. */
  readonly folder: string
  /** Ends munged and removes its folder; harmless when called again. */
  stop(): Promise<void>
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath)
    socket.on('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.on('error', () => resolve(false))
  })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const killer = setTimeout(() => child.kill('SIGKILL'), 5_000)
  await gone
  clearTimeout(killer)
}

/** Starts munged; `key` makes two of them share a key, as two hosts of a cluster do. Root only. */
export async function startMunged(options: { key?: Buffer } = {}): Promise<TestMunged> {
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-munged-'))
  chmodSync(folder, 0o755)
  const socketPath = join(folder, 'socket')
  writeFileSync(join(folder, 'key'), options.key ?? randomBytes(64), { mode: 0o600 })
  const argv = [
    '--foreground',
    '--force',
    '--num-threads=2',
    `--socket=${socketPath}`,
    `--key-file=${join(folder, 'key')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--seed-file=${join(folder, 'seed')}`,
  ]
  const child = spawn('/usr/sbin/munged', argv, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: '/usr/sbin:/usr/bin' },
  })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said = `${said}${chunk}`.slice(-4096)
  })
  const atExit = () => child.kill('SIGKILL')
  process.once('exit', atExit)
  const stop = async () => {
    await end(child)
    process.removeListener('exit', atExit)
    rmSync(folder, { recursive: true, force: true })
  }
  const deadline = Date.now() + startBoundMs
  while (!(await answers(socketPath))) {
    if (child.exitCode !== null || Date.now() > deadline) {
      await stop()
      throw new Error(`munged did not start: ${said}`)
    }
    await delay(10)
  }
  return { socketPath, pid: child.pid ?? 0, folder, stop }
}

// `cluster run`: one command in one host, its stdin, stdout, stderr, signals and exit passed through.
import { spawn } from 'node:child_process'
import { cleanEnvironment } from './environment.ts'
import { enter, type RunningHost } from './namespaces.ts'
import { childrenOf } from './procfs.ts'

const forwarded = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'] as const
// A terminal sends these to the command itself, too.
const fromTerminal = new Set<string>(['SIGINT', 'SIGQUIT'])

function loginEnvironment(user: string): string[] {
  const home = user === 'root' ? '/root' : `/home/${user}`
  const path = user === 'root' ? cleanEnvironment.PATH : '/usr/local/bin:/usr/bin:/bin'
  const kept = process.env.TERM === undefined ? [] : [`TERM=${process.env.TERM}`]
  return [
    `--chdir=${home}`,
    `HOME=${home}`,
    `USER=${user}`,
    `LOGNAME=${user}`,
    'SHELL=/bin/bash',
    `PATH=${path}`,
    'LANG=C.UTF-8',
    ...kept,
  ]
}

/** argv that runs `argv` in the host as `user`, as after a login; the command dies with whoever runs this argv. */
export function runArgv(host: RunningHost, user: string, argv: readonly string[]): string[] {
  const dieWithParent = ['/usr/bin/setpriv', '--pdeathsig', 'KILL']
  const identity =
    user === 'root' ? dieWithParent : [...dieWithParent, `--reuid=${user}`, `--regid=${user}`, '--init-groups']
  const asUser = [...identity, '--', '/usr/bin/env', '-i', ...loginEnvironment(user), ...argv]
  return [...dieWithParent, '--', ...enter(host, asUser)]
}

/** Exits this process as the command ended: same exit code, or the same signal. */
export async function runAndExit(host: RunningHost, user: string, argv: readonly string[]): Promise<never> {
  const [file, ...rest] = runArgv(host, user, argv)
  if (file === undefined) throw new Error('an empty command')
  const child = spawn(file, rest, { stdio: 'inherit', cwd: '/', env: { ...process.env, LC_ALL: 'C.UTF-8' } })
  const { promise, resolve, reject } = Promise.withResolvers<[number | null, NodeJS.Signals | null]>()
  child.once('error', reject)
  child.once('exit', (code, signal) => resolve([code, signal]))
  for (const signal of forwarded) {
    process.on(signal, () => {
      if (process.stdin.isTTY && fromTerminal.has(signal)) return
      // nsenter keeps signals to itself: the command is its child.
      for (const pid of childrenOf(child.pid ?? 0)) process.kill(pid, signal)
    })
  }
  const [code, signal] = await promise
  if (signal === null) process.exit(code ?? 1)
  for (const each of forwarded) process.removeAllListeners(each)
  process.kill(process.pid, signal)
  return await new Promise<never>(() => setInterval(() => {}, 1000))
}

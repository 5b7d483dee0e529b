// Running commands for the cluster's own work: argv arrays, clean environment, a deadline, the command's last words on failure.
import { execa } from 'execa'
import { cleanEnvironment } from './environment.ts'

export interface CommandResult {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs to the end whatever the exit code; 124 where the deadline passed. */
export async function attempt(
  argv: readonly string[],
  options: { input?: string; timeoutMs?: number } = {},
): Promise<CommandResult> {
  const [file, ...rest] = argv
  if (file === undefined) throw new Error('an empty command')
  const result = await execa(file, rest, {
    reject: false,
    env: cleanEnvironment,
    extendEnv: false,
    cwd: '/',
    timeout: options.timeoutMs ?? 20_000,
    input: options.input ?? '',
    maxBuffer: 16_000_000,
    stripFinalNewline: false,
  })
  return { exitCode: result.timedOut ? 124 : (result.exitCode ?? 125), stdout: result.stdout, stderr: result.stderr }
}

/** Its standard output; throws with the command and its last words where it fails. */
export async function command(
  argv: readonly string[],
  options: { input?: string; timeoutMs?: number } = {},
): Promise<string> {
  const result = await attempt(argv, options)
  if (result.exitCode !== 0) {
    const words = (result.stderr + result.stdout).trim().split('\n').slice(-15).join('\n  | ')
    throw new Error(`${argv.join(' ').slice(0, 300)} ended with ${result.exitCode}:\n  | ${words}`)
  }
  return result.stdout
}

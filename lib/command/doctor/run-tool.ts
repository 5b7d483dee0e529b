// Commands that checks look with: absolute paths, a clean environment, a deadline, bounded output.

export interface ToolResult {
  /** undefined: it could not be started, or did not end in time. */
  readonly exitCode: number | undefined
  readonly stdout: string
  readonly stderr: string
}

const deadlineMs = 10_000

export async function runTool(
  file: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<ToolResult> {
  const { execa } = await import('execa')
  const result = await execa(file, args, {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8', ...environment },
    extendEnv: false,
    cwd: '/',
    stdin: 'ignore',
    timeout: deadlineMs,
    killSignal: 'SIGKILL',
    maxBuffer: 16 * 1024 * 1024,
    reject: false,
  })
  return {
    exitCode: result.exitCode,
    stdout: String(result.stdout ?? ''),
    stderr: String(result.stderr ?? '') || (result.failed ? (result.shortMessage ?? '') : ''),
  }
}

/** The last line of what a tool complained, for a finding's one line. */
export function complaint(result: ToolResult): string {
  return result.stderr.trim().split('\n').at(-1)?.slice(0, 300) || `exit code ${result.exitCode ?? 'none'}`
}

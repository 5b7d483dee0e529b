// A terminal for tests: a command under a pseudo-terminal of script(1), typed at and read by what it shows. Every wait has a bound.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { until } from './until.ts'

export interface Terminal {
  /** Waits until what was shown since the last match has it, takes all up to its end, and returns the match. */
  expect(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>
  send(text: string): void
  resize(rows: number, columns: number): void
  /** As when its window is closed. */
  hangUp(): Promise<void>
}

const expectMs = 120_000

/** Quotes for the shell that script(1) starts. */
const quoted = (argument: string) => `'${argument.replaceAll("'", `'\\''`)}'`

export async function openTerminal(argv: readonly string[], size = { rows: 40, columns: 100 }): Promise<Terminal> {
  // The device's name comes first, so that the size can be changed from outside, as a window does.
  const line = `tty; stty rows ${size.rows} cols ${size.columns}; exec ${argv.map(quoted).join(' ')}`
  const child: ChildProcess = spawn('script', ['--quiet', '--flush', '--return', '--command', line, '/dev/null'], {
    env: { ...process.env, TERM: 'xterm', SHELL: '/bin/sh' },
    stdio: ['pipe', 'pipe', 'inherit'],
    cwd: '/',
  })
  let shown = ''
  child.stdout?.setEncoding('latin1').on('data', (part: string) => {
    shown += part
  })
  child.stdin?.on('error', () => {})
  const expect: Terminal['expect'] = async (pattern, timeoutMs = expectMs) => {
    const found = await until(`${pattern}`, () => pattern.exec(shown) ?? undefined, timeoutMs).catch(
      (cause: unknown) => {
        throw new Error(`${pattern} was not shown, only ${JSON.stringify(shown.slice(-2000))}`, { cause })
      },
    )
    shown = shown.slice(found.index + found[0].length)
    return found
  }
  const [, device = ''] = await expect(/(\/dev\/pts\/\d+)\r\n/)
  return {
    expect,
    send: (text) => void child.stdin?.write(text, 'latin1'),
    resize: (rows, columns) => void execFileSync('stty', ['-F', device, 'rows', String(rows), 'cols', String(columns)]),
    async hangUp() {
      const ended = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined
      child.kill('SIGKILL')
      await ended
    },
  }
}

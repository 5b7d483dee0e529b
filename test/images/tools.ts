// Runs the tools that a build needs. It owns their deadline, clean environment and error text; it never uses a shell.
import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'

const folders = ['/usr/sbin', '/usr/bin', '/sbin', '/bin']
const quotedLines = 8

/** Debian package that brings each tool, for the message when it is missing. */
const packageOf = {
  'apt-cache': 'apt',
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
  gcc: 'gcc libc6-dev',
  ldconfig: 'libc-bin',
  mke2fs: 'e2fsprogs',
  'qemu-img': 'qemu-utils',
  tar: 'tar',
  unshare: 'util-linux',
} as const

export type Tool = keyof typeof packageOf

/** The absolute path of a tool. Throws `command-failed` naming the package when it is not installed. */
export function toolPath(tool: Tool): string {
  for (const folder of folders) {
    const path = join(folder, tool)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {
      // Not in this folder: the next one may have it.
    }
  }
  throw new VmrmError('command-failed', `building an image needs ${tool}, which is not installed`, {
    hint: `Install it with: apt-get install ${packageOf[tool]}`,
  })
}

export interface ToolRun {
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
  /** Default 120,000. */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** An open file that standard output goes into instead. */
  readonly outputFd?: number
}

/** Standard output of a tool that ended with 0. Throws `command-failed` with its last lines otherwise. */
export async function runTool(tool: Tool, args: readonly string[], run: ToolRun = {}): Promise<string> {
  const result = await execa(toolPath(tool), args, {
    env: { PATH: folders.join(':'), LC_ALL: 'C.UTF-8', ...run.env },
    extendEnv: false,
    stdin: 'ignore',
    // execa takes any file descriptor; its types only know those up to 3.
    stdout: (run.outputFd ?? 'pipe') as 'pipe',
    timeout: run.timeoutMs ?? 120_000,
    reject: false,
    ...(run.cwd === undefined ? {} : { cwd: run.cwd }),
    ...(run.signal === undefined ? {} : { cancelSignal: run.signal }),
  })
  if (!result.failed) return result.stdout ?? ''
  const why = result.timedOut ? 'took too long' : `ended with ${result.exitCode ?? result.signal ?? 'an error'}`
  throw new VmrmError('command-failed', `building an image: ${tool} ${args.slice(0, 4).join(' ')} … ${why}`, {
    cause: result.cause,
    quoted: result.stderr.split('\n').slice(-quotedLines).join('\n'),
  })
}

/** Like `runTool`, with files of the caller seen as root's: what is not root uses a user namespace. */
export function runToolAsOwner(tool: Tool, args: readonly string[], run: ToolRun = {}): Promise<string> {
  if (process.getuid?.() === 0) return runTool(tool, args, run)
  return runTool('unshare', ['--map-root-user', toolPath(tool), ...args], run)
}

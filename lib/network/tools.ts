// Runs ip, bridge and nft: absolute paths, an empty environment, text on stdin, a deadline. It knows nothing of networks.
import { VmrmError } from '../errors/vmrm-error.ts'

const paths = {
  ip: '/usr/sbin/ip',
  bridge: '/usr/sbin/bridge',
  nft: '/usr/sbin/nft',
  sysctl: '/usr/sbin/sysctl',
} as const

const deadlineMs = 10_000
const maxOutputBytes = 16 * 1024 * 1024

export interface ToolCall {
  readonly tool: keyof typeof paths
  readonly args: readonly string[]
  readonly input?: string
  /** Name of a network namespace under /run/netns to run it in; without it the caller's own. */
  readonly namespace?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * What the tool wrote to stdout. Fails with `command-failed`, its last lines quoted, when it ends with an error, cannot
 * be started or is over its 10 s; when `signal` aborts, the tool is killed and the signal's reason thrown.
 */
export async function runTool(call: ToolCall): Promise<string> {
  const { execa } = await import('execa') // 10 ms of CPU that most of vmrm's executables never need
  call.signal?.throwIfAborted()
  const command = [paths[call.tool], ...call.args]
  if (call.namespace !== undefined) command.unshift('/usr/bin/nsenter', `--net=${namespacePath(call.namespace)}`)
  const [file = '', ...args] = command
  const result = await execa(file, args, {
    input: call.input ?? '',
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
    extendEnv: false,
    timeout: deadlineMs,
    maxBuffer: maxOutputBytes,
    killSignal: 'SIGKILL',
    reject: false,
    ...(call.signal === undefined ? {} : { cancelSignal: call.signal }),
  })
  call.signal?.throwIfAborted()
  if (!result.failed) return result.stdout
  const where = call.namespace === undefined ? '' : ` in the namespace ${call.namespace}`
  const why = result.timedOut
    ? `did not end within ${deadlineMs} ms`
    : `failed (${result.exitCode ?? result.signal ?? result.code})`
  throw new VmrmError('command-failed', `${paths[call.tool]} ${call.args.join(' ')}${where} ${why}.`, {
    cause: result.cause,
    quoted: result.stderr.split('\n').slice(-10).join('\n'),
  })
}

/** Where iproute2 keeps a named namespace. */
export function namespacePath(namespace: string): string {
  return `/run/netns/${namespace}`
}

// vmrmd: the daemon, in the role it is told. It reads its configuration, runs until a signal, closes its sockets and ends,
// whatever is under way: what it was doing is in the journal or the ledger.
import { parseArgs } from 'node:util'
import { defaultConfigPath, loadDaemonConfig } from '../lib/config/load.ts'
import { exitCodeOfFamily } from '../lib/errors/catalogue.ts'
import { renderForUser, toVmrmError } from '../lib/errors/vmrm-error.ts'
import { createLog, type Log } from '../lib/log.ts'

const usage = 'usage: vmrmd --role node|controller [--config FILE] [--log-level error|warn|info|debug]\n'
const usageExit = 64

export async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args)
  if (options === undefined) {
    process.stderr.write(usage)
    return usageExit
  }
  try {
    const config = loadDaemonConfig(options.config)
    const level = options.level ?? config.log.level
    const log = createLog({ level, write: (line) => process.stderr.write(line) })
    await run(options.role, { config, log, signal: untilSignal(log) })
    // The channels of running VMs are open, and creations may be under way: waiting for them would hold up the next start
    // until the tasks give up.
    process.exit(0)
  } catch (thrown) {
    const error = toVmrmError(thrown)
    process.stderr.write(renderForUser(error))
    if (error.family === 'bug')
      process.stderr.write(`${String(error.cause instanceof Error ? error.cause.stack : '')}\n`)
    return exitCodeOfFamily[error.family]
  }
}

type Role = 'node' | 'controller'

async function run(
  role: Role,
  options: { config: ReturnType<typeof loadDaemonConfig>; log: Log; signal: AbortSignal },
) {
  if (role === 'controller')
    return (await import('../lib/daemon/controller/controller-daemon.ts')).runController(options)
  return (await import('../lib/daemon/node/node-daemon.ts')).runNode(options)
}

function readOptions(args: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { role: { type: 'string' }, config: { type: 'string' }, 'log-level': { type: 'string' } },
    })
    const level = (['error', 'warn', 'info', 'debug'] as const).find((each) => each === values['log-level'])
    const role = (['node', 'controller'] as const).find((each) => each === values.role)
    if (role === undefined || (level === undefined && values['log-level'] !== undefined)) return undefined
    return { role, config: values.config ?? defaultConfigPath, level }
  } catch {
    return undefined
  }
}

/** Aborts on SIGTERM or SIGINT. A rejection nobody handled is logged and survived: jobs depend on this process. */
function untilSignal(log: Log): AbortSignal {
  const stop = new AbortController()
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => stop.abort(new Error(name)))
  process.on('unhandledRejection', (reason) => {
    log.error('daemon.unhandled', { text: reason instanceof Error ? (reason.stack ?? reason.message) : String(reason) })
  })
  return stop.signal
}

// vmrm: the command line. It finds the subcommand and turns its failure into a sentence and an exit code.
import { type Command, UsageError, usageExit } from '../lib/command/command.ts'
import { exitCodeOfFamily } from '../lib/errors/catalogue.ts'
import { renderForUser, toVmrmError } from '../lib/errors/vmrm-error.ts'

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  'check-request': async () => (await import('../lib/command/check-request.ts')).checkRequest,
  console: async () => (await import('../lib/command/console.ts')).console,
  create: async () => (await import('../lib/command/create.ts')).create,
  cp: async () => (await import('../lib/command/cp.ts')).cp,
  destroy: async () => (await import('../lib/command/destroy.ts')).destroy,
  doctor: async () => (await import('../lib/command/doctor.ts')).doctor,
  exec: async () => (await import('../lib/command/exec.ts')).exec,
  image: async () => (await import('../lib/command/image.ts')).image,
  'job-submit-table': async () => (await import('../lib/command/job-submit-table.ts')).jobSubmitTable,
  node: async () => (await import('../lib/command/node.ts')).node,
  ps: async () => (await import('../lib/command/ps.ts')).ps,
  sbcast: async () => (await import('../lib/command/sbcast.ts')).sbcast,
  ssh: async () => (await import('../lib/command/ssh.ts')).ssh,
  version: async () => (await import('../lib/command/version.ts')).version,
}

const helpNames: readonly string[] = ['help', '--help', '-h']
/** A shell's exit code for a program that SIGPIPE ended: `vmrm ps | head`. */
const brokenPipeExit = 141

export async function main(args: readonly string[]): Promise<number> {
  // bun ignores SIGPIPE: without this a closed pipe would be shown as a failure of ours.
  process.stdout.once('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? brokenPipeExit : exitCodeOfFamily.bug)
  })
  const [given = 'help', ...rest] = args
  const name = given === '--version' ? 'version' : given
  if (helpNames.includes(name)) return rest[0] === undefined ? listCommands('asked') : help(rest[0])
  const load = find(name)
  if (load === undefined) return unknown(name)
  if (asksForHelp(rest)) return help(name)
  try {
    await preferInterpreting()
    return await (await load()).run(rest)
  } catch (thrown) {
    return fail(thrown)
  }
}

/** zod compiles each schema with its first use, which pays in a daemon only; it must be told before a schema is made. */
async function preferInterpreting(): Promise<void> {
  const { config } = await import('zod')
  config({ jitless: true })
}

function find(name: string): (() => Promise<Command>) | undefined {
  return Object.hasOwn(commands, name) ? commands[name] : undefined
}

function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  const own = end < 0 ? args : args.slice(0, end)
  return own.includes('--help') || own.includes('-h')
}

function fail(thrown: unknown): number {
  if (thrown instanceof UsageError) {
    const [first = '', ...more] = thrown.usage.split('\n')
    const lines = [`usage: ${first}`, ...more.map((line) => `       ${line}`)]
    process.stderr.write(`vmrm: ${thrown.message}\n${lines.join('\n')}\n`)
    return usageExit
  }
  const error = toVmrmError(thrown)
  process.stderr.write(renderForUser(error))
  return exitCodeOfFamily[error.family]
}

async function help(name: string): Promise<number> {
  const load = find(name)
  if (load === undefined) return unknown(name)
  const command = await load()
  const [first = '', ...more] = command.usage.split('\n')
  process.stdout.write([`usage: ${first}`, ...more.map((line) => `       ${line}`), '', command.help, ''].join('\n'))
  return 0
}

async function unknown(name: string): Promise<number> {
  process.stderr.write(`vmrm: there is no command ${JSON.stringify(name)}\n`)
  return listCommands('not-asked')
}

async function listCommands(reason: 'asked' | 'not-asked'): Promise<number> {
  const lines = ['usage: vmrm COMMAND …', '']
  for (const [command, load] of Object.entries(commands)) lines.push(`  ${command.padEnd(18)}${(await load()).summary}`)
  lines.push('', '`vmrm COMMAND --help` says more; so does vmrm(1).')
  ;(reason === 'asked' ? process.stdout : process.stderr).write(`${lines.join('\n')}\n`)
  return reason === 'asked' ? 0 : usageExit
}

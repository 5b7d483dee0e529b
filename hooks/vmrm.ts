// vmrm: the command line. It finds the subcommand and turns its failure into a sentence and an exit code.

import type { Command } from '../lib/command/command.ts'
import { exitCodeOfFamily } from '../lib/errors/catalogue.ts'
import { renderForUser, toVmrmError } from '../lib/errors/vmrm-error.ts'

const commands: Readonly<Record<string, () => Promise<Command>>> = {
  'check-request': async () => (await import('../lib/command/check-request.ts')).checkRequest,
  ps: async () => (await import('../lib/command/ps.ts')).ps,
}

const usageExit = 64

export async function main(args: readonly string[]): Promise<number> {
  const [name = 'help', ...rest] = args
  const load = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (load === undefined) return usage(name)
  try {
    return await (await load()).run(rest)
  } catch (thrown) {
    const error = toVmrmError(thrown)
    process.stderr.write(renderForUser(error))
    return exitCodeOfFamily[error.family]
  }
}

async function usage(name: string): Promise<number> {
  const isAsked = ['help', '--help', '-h'].includes(name)
  const lines = ['usage: vmrm COMMAND …', '']
  for (const [command, load] of Object.entries(commands))
    lines.push(`  ${command.padEnd(20)} ${(await load()).summary}`)
  if (!isAsked) lines.unshift(`vmrm: there is no command ${name}`)
  ;(isAsked ? process.stdout : process.stderr).write(`${lines.join('\n')}\n`)
  return isAsked ? 0 : usageExit
}

// `vmrm version`: the release of this binary.
import { release } from '../daemon/release.ts'
import { type Command, readOptions, UsageError } from './command.ts'

const usage = 'vmrm version'

export const version: Command = {
  summary: 'the release of vmrm',
  usage,
  help: 'Prints the release of the program; `vmrm doctor` compares it with the daemons that run.',
  async run(args) {
    if (readOptions(usage, args, {}).positionals.length > 0) throw new UsageError('it takes no arguments', usage)
    process.stdout.write(`vmrm ${release}\n`)
    return 0
  },
}

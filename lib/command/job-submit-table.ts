// `vmrm job-submit-table`: the Lua table that the rules at submission read, made from vmrmd.xml and the catalogue.
import { loadDaemonConfig, openCatalogue } from '../config/load.ts'
import { writeDurably } from '../daemon/durable-file.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { createSlurmCommands } from '../slurm/commands.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { flagBeside, setFlag } from './job-submit/default-flag.ts'
import { jobSubmitTableText, mayDecide } from './job-submit/table-text.ts'

const usage = 'vmrm job-submit-table [--output FILE]'
/** Where job_submit/vmrm.lua looks. */
export const tablePath = '/etc/vmrm/job_submit_table.lua'

export const jobSubmitTable: Command = {
  summary: 'write what job_submit/lua knows of images and defaults',
  usage,
  help: `Writes the table of images and defaults that the rules at submission (job_submit/vmrm.lua) read, to standard output.
  --output FILE   to this file instead, which is replaced as a whole; the rules read ${tablePath}.
                  Beside it the file default-images is made or removed, which says whether PrologSlurmctld must look for
                  images that jobs did not name themselves. It stays while a job in the queue has one.
Run it on the controller's host whenever vmrmd.xml or the catalogue has changed.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, { output: { type: 'string' } })
    if (positionals.length > 0) throw new UsageError('it takes no arguments', usage)
    const config = loadDaemonConfig()
    const catalogue = openCatalogue(config.paths.images)
    const [problem] = catalogue.problems()
    // A table without an image would refuse its users' jobs, or let them through unchecked.
    if (problem !== undefined) throw problem
    const text = jobSubmitTableText(config, [...catalogue.images().values()])
    if (values.output === undefined) {
      process.stdout.write(text)
      return 0
    }
    const flag = flagBeside(values.output)
    const slurm = createSlurmCommands({ commandsFolder: config.slurm.commands, configFile: config.slurm.config })
    // A job must not be given an image that nobody looks for: the flag comes before the table and goes after it.
    if (mayDecide(config)) await setFlag(flag, 'decides', slurm)
    await write(values.output, text)
    if (!mayDecide(config) && (await setFlag(flag, 'decides-nothing', slurm)) === 'kept')
      process.stderr.write(`vmrm: ${flag} stays while jobs in the queue have a default image: run this again later\n`)
    return 0
  },
}

/** slurmctld reads it as SlurmUser, whatever the umask of the administrator's shell is. */
async function write(path: string, text: string): Promise<void> {
  process.umask(0o022)
  try {
    await writeDurably(path, text, 0o644)
  } catch (cause) {
    throw new VmrmError('command-failed', `${path} cannot be written: ${(cause as Error).message}`, { cause })
  }
}

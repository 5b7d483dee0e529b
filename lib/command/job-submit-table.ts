// `vmrm job-submit-table`: the Lua table that the rules at submission read, made from vmrmd.xml and the catalogue.
import type { DaemonConfig } from '../config/daemon-schema.ts'
import type { Image } from '../config/image-schema.ts'
import { loadDaemonConfig, openCatalogue } from '../config/load.ts'
import { writeDurably } from '../daemon/durable-file.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { type Command, readOptions, UsageError } from './command.ts'

const usage = 'vmrm job-submit-table [--output FILE]'
/** Where job_submit/vmrm.lua looks. */
export const tablePath = '/etc/vmrm/job_submit_table.lua'

export const jobSubmitTable: Command = {
  summary: 'write what job_submit/lua knows of images and partitions',
  usage,
  help: `Writes the table of images and partitions that the rules at submission (job_submit/vmrm.lua) read, to standard output.
  --output FILE   to this file instead, which is replaced as a whole; the rules read ${tablePath}
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
    if (values.output === undefined) process.stdout.write(text)
    else await write(values.output, text)
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

/** The table's text. Throws `config-invalid` for a partition whose default image is not there or that stands there twice. */
export function jobSubmitTableText(config: DaemonConfig, images: readonly Image[]): string {
  const partitions = config.partitions.entries
  const names = new Set<string>()
  for (const { name, image } of partitions) {
    if (names.has(name)) throw new VmrmError('config-invalid', `vmrmd.xml has partition ${name} twice`)
    names.add(name)
    if (!images.some((one) => one.name === image))
      throw new VmrmError('config-invalid', `vmrmd.xml: there is no image ${image}, the default of partition ${name}`)
  }
  const imageRows = images.map(({ name, limits }) => {
    const { maxCpus, minMemoryMib, maxMemoryMib } = limits
    const sizes = `max_cpus = ${maxCpus}, min_memory_mib = ${minMemoryMib}, max_memory_mib = ${maxMemoryMib}`
    return `    [${quote(name)}] = { ${sizes}, overhead_mib = ${config.hypervisor.overheadMib} },`
  })
  const partitionRows = partitions.map(
    ({ name, image, optOut }) => `    [${quote(name)}] = { default_image = ${quote(image)}, opt_out = ${optOut} },`,
  )
  return [
    '-- Made by `vmrm job-submit-table` from vmrmd.xml and the catalogue; do not edit.',
    'return {',
    '  version = 1,',
    `  threads_per_core = ${config.slurm.threadsPerCore},`,
    '  images = {',
    ...imageRows,
    '  },',
    '  partitions = {',
    ...partitionRows,
    '  },',
    '}',
    '',
  ].join('\n')
}

/** A Lua string; everything but plain letters by number, so that nothing in a name can end it. */
function quote(text: string): string {
  return `'${text.replace(/[^A-Za-z0-9_.@-]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `\\${String(byte).padStart(3, '0')}`).join(''),
  )}'`
}

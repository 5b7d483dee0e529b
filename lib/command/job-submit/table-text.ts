// The text of the table that job_submit/vmrm.lua reads. Pure.
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Image } from '../../config/image-schema.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'

type Defaults = DaemonConfig['defaults']
type Entry = Defaults['users'][number]

/** Whether a job may have an image that it did not name by an option: then PrologSlurmctld must look. */
export function mayDecide({ defaults, submission }: DaemonConfig): boolean {
  const { partitions, accounts, users } = defaults
  return submission.fromEnvironment || partitions.length + accounts.length + users.length > 0
}

/** Throws `config-invalid` for a default whose image is not there, or a name that stands there twice. */
export function jobSubmitTableText(config: DaemonConfig, images: readonly Image[]): string {
  const { partitions, accounts, users } = config.defaults
  const known = new Set(images.map(({ name }) => name))
  checkEntries('partition', partitions, known)
  checkEntries('account', accounts, new Set([...known, 'none']))
  checkEntries('user', users, new Set([...known, 'none']))
  return [
    '-- Made by `vmrm job-submit-table` from vmrmd.xml and the catalogue; do not edit.',
    'return {',
    '  version = 1,',
    `  threads_per_core = ${config.slurm.threadsPerCore},`,
    `  from_environment = ${mayDecide(config)},`,
    `  requeue = '${config.submission.requeue}', open_mode = '${config.submission.openMode}',`,
    ...rows('images', images, (image) => imageFields(image, config.hypervisor.overheadMib)),
    ...rows('users', users, entryFields),
    ...rows('accounts', accounts, entryFields),
    ...rows('partitions', partitions, entryFields),
    '}',
    '',
  ].join('\n')
}

function checkEntries(what: string, entries: readonly Entry[], images: ReadonlySet<string>): void {
  const names = new Set<string>()
  for (const { name, image } of entries) {
    if (names.has(name)) throw new VmrmError('config-invalid', `vmrmd.xml has ${what} ${name} twice`)
    names.add(name)
    if (!images.has(image))
      throw new VmrmError('config-invalid', `vmrmd.xml: there is no image ${image}, the default of ${what} ${name}`)
  }
}

function rows<T extends { name: string }>(title: string, entries: readonly T[], fieldsOf: (entry: T) => string) {
  return [`  ${title} = {`, ...entries.map((entry) => `    [${quote(entry.name)}] = { ${fieldsOf(entry)} },`), '  },']
}

function imageFields({ limits, access }: Image, overheadMib: number): string {
  const { maxCpus, minMemoryMib, maxMemoryMib } = limits
  const sizes = `max_cpus = ${maxCpus}, min_memory_mib = ${minMemoryMib}, max_memory_mib = ${maxMemoryMib}, overhead_mib = ${overheadMib}`
  // job_submit/lua cannot look a user's groups up, which would wait for a name service.
  if (access.policy === 'all' || access.groups.length > 0) return sizes
  const set = (entries: readonly { name: string }[]) =>
    `{ ${entries.map(({ name }) => `[${quote(name)}] = true, `).join('')}}`
  return `${sizes}, allowed = { users = ${set(access.users)}, accounts = ${set(access.accounts)} }`
}

function entryFields({ image, optOut, perNode, script }: Entry): string {
  return `default_image = ${quote(image)}, opt_out = ${optOut}, per_node = ${perNode}, script = '${script}'`
}

/** A Lua string; everything but plain letters by number, so that nothing in a name can end it. */
function quote(text: string): string {
  return `'${text.replace(/[^A-Za-z0-9_.@-]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `\\${String(byte).padStart(3, '0')}`).join(''),
  )}'`
}

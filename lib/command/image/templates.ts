// `vmrm image templates` and `vmrm image forget`: what nodes keep to clone VMs from.
import { loadDaemonConfig } from '../../config/load.ts'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import type { ReplyOf } from '../../protocol/messages.ts'
import { readOptions, UsageError } from '../command.ts'
import { cleanLine, renderTable } from '../table.ts'
import { onNodes } from './on-nodes.ts'
import { entryOf } from './show.ts'

type Answer = ReplyOf<'list-templates'> & { readonly node: string }

const listUsage = 'vmrm image templates [--node NODES]… [--json]'
const forgetUsage = 'vmrm image forget NAME|--all [--node NODES]…'
const head = ['NODE', 'IMAGE', 'CPUS', 'MEMORY', 'USER', 'DISK', 'MADE', 'USED', 'USES', 'STATE', 'KEY']

export async function listTemplates(args: readonly string[]): Promise<number> {
  const options = { node: { type: 'string', multiple: true }, json: { type: 'boolean' } } as const
  const { values, positionals } = readOptions(listUsage, args, options)
  if (positionals.length > 0) throw new UsageError('it takes no names', listUsage)
  const answers: Answer[] = []
  const exitCode = await onNodes(loadDaemonConfig(), values.node ?? [], async (client, node) => {
    answers.push({ node, ...(await client.call('list-templates', {})) })
  })
  answers.sort((a, b) => a.node.localeCompare(b.node, 'en', { numeric: true }))
  process.stdout.write(values.json === true ? `${JSON.stringify(answers, null, 2)}\n` : renderTemplates(answers))
  return exitCode
}

/** One line a template, below it why VMs are not cloned from it; then what is being made. */
function renderTemplates(answers: readonly Answer[]): string {
  const rows = answers.flatMap(({ node, templates, making }) => [
    ...templates.map((each) => ({
      cells: [node, ...subjectCells(each), `${each.mib} MiB`, ...[each.made, each.used].map(timeText)].concat([
        ...[String(each.uses), each.stale === undefined ? 'ready' : 'stale', each.key],
      ]),
      note: each.stale,
    })),
    ...making.map((each) => ({ cells: [node, ...subjectCells(each), '', '', '', '', 'making', ''], note: undefined })),
  ])
  const counts = answers.map(({ node, templates, maxMib }) => {
    const mib = templates.reduce((sum, each) => sum + each.mib, 0)
    return maxMib === 0 ? `${node}: keeps none (templates/@max-mib is 0)` : `${node}: ${mib} of ${maxMib} MiB`
  })
  const table = renderTable(
    head,
    rows.map(({ cells }) => cells),
  )
    .trimEnd()
    .split('\n')
  const lines = rows.flatMap(({ note }, index) => [table[index + 1] ?? '', ...(note ? [`    ${cleanLine(note)}`] : [])])
  return `${[...(rows.length === 0 ? [] : [table[0] ?? '']), ...lines, ...counts].join('\n')}\n`
}

export async function forgetTemplates(args: readonly string[]): Promise<number> {
  const options = { node: { type: 'string', multiple: true }, all: { type: 'boolean' } } as const
  const { values, positionals } = readOptions(forgetUsage, args, options)
  const [image] = positionals
  if ((image === undefined) !== (values.all === true) || positionals.length > 1)
    throw new UsageError('one name, or --all', forgetUsage)
  let found = 0
  const exitCode = await onNodes(loadDaemonConfig(), values.node ?? [], async (client, node) => {
    const { removed, held } = await client.call('forget-templates', image === undefined ? {} : { image })
    found += removed + held
    const kept = held === 0 ? '' : `; ${held} that a job is being given right now stay`
    process.stdout.write(`${node}: ${removed} removed${kept}\n`)
  })
  if (image !== undefined && found === 0 && exitCode === 0) await requireKnown(image, entryOf)
  return exitCode
}

/**
 * No node had a template of it: where the catalogue has no such image either, the name may be a mistake, and that is an error. Nothing
 * else that `look` rejects with is: the nodes have answered.
 */
export async function requireKnown(image: string, look: (name: string) => Promise<unknown>): Promise<void> {
  try {
    await look(image)
  } catch (error) {
    if (toVmrmError(error).code !== 'image-unknown') return
    const text = `no node that was asked has a template of image ${image}, and the catalogue has no such image`
    throw new VmrmError('image-unknown', text, {
      cause: error,
      hint: 'See `vmrm image templates` for what there is. If the image has left the catalogue, nothing is left to do.',
    })
  }
}

function subjectCells(subject: {
  image: string
  vcpus: number
  memoryMib: number
  uid?: number | undefined
}): string[] {
  const user = subject.uid === undefined ? 'all' : `uid ${subject.uid}`
  return [subject.image, String(subject.vcpus), `${subject.memoryMib} MiB`, user]
}

const timeText = (instant: string): string => instant.slice(0, 19).replace('T', ' ')

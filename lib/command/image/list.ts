// `vmrm image list`: what the asking user may use. Who that is, and what they may, the controller says.
import type { ReplyOf } from '../../protocol/messages.ts'
import { readOptions, UsageError } from '../command.ts'
import { withController } from '../controller.ts'
import { renderTable } from '../table.ts'

const usage = 'vmrm image list [--json]'

export async function listImages(args: readonly string[]): Promise<number> {
  const { values, positionals } = readOptions(usage, args, { json: { type: 'boolean' } })
  if (positionals.length > 0) throw new UsageError('it takes no names: see `vmrm image show NAME`', usage)
  const { images } = await withController((controller) => controller.call('list-images', {}))
  process.stdout.write(values.json === true ? `${JSON.stringify(images, null, 2)}\n` : renderImages(images))
  return 0
}

function renderImages(images: ReplyOf<'list-images'>['images']): string {
  if (images.length === 0) return 'the catalogue of this cluster is empty\n'
  const limit = (value: number | undefined, unit: string) => (value === undefined ? 'any' : `${value}${unit}`)
  const rows = images.map((image) => [
    image.name,
    image.revision,
    image.os,
    image.allowed ? 'yes' : 'no',
    limit(image.cpuLimit, ''),
    limit(image.memoryLimitMib, ' MiB'),
  ])
  return renderTable(['IMAGE', 'REVISION', 'OS', 'ALLOWED', 'CPUS-MAX', 'MEMORY-MAX'], rows)
}

// `vmrm image show`: a catalogue entry as it stands.
import { imageName } from '../../config/image-schema.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { readOptions, UsageError } from '../command.ts'
import { withController } from '../controller.ts'

const usage = 'vmrm image show NAME'

export async function showImage(args: readonly string[]): Promise<number> {
  const { positionals } = readOptions(usage, args, {})
  const [name] = positionals
  if (name === undefined || positionals.length > 1) throw new UsageError('one name is needed', usage)
  const xml = await entryOf(name)
  // What a terminal would obey has no place in it; tabs and line breaks have.
  const shown = xml.replace(/[^\P{Cc}\t\n]/gu, '?')
  process.stdout.write(shown.endsWith('\n') ? shown : `${shown}\n`)
  return 0
}

/** The catalogue entry as the controller has it, XML. Rejects with `image-unknown`. */
export async function entryOf(name: string): Promise<string> {
  if (!imageName.safeParse(name).success)
    throw new VmrmError('request-invalid', `${JSON.stringify(name.slice(0, 100))} is no image name`)
  const { xml } = await withController((controller) => controller.call('show-image', { name }))
  return xml
}

// Why no VM of now would be cloned from a template that is there, in words.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import { differingParts, type TemplateParts } from '../../../image/template/key.ts'
import type { Machine } from '../vms/domain-of.ts'
import { describeTemplate } from './describe-template.ts'
import { whyBooted } from './may-clone.ts'
import type { StoredTemplate } from './store.ts'

/** Longer ones, such as the domain's XML, are told of by name alone. */
const shownCharacters = 40

/** Undefined: VMs of that image and size come from it. Without a version the hypervisor is taken to be what it was. */
export async function whyStale(
  { subject, parts }: StoredTemplate,
  options: {
    config: DaemonConfig
    images: ReadonlyMap<string, Image>
    machine: Omit<Machine, 'image'>
    hypervisorVersion: string | undefined
  },
): Promise<string | undefined> {
  const image = options.images.get(subject.image)
  if (image === undefined) return `image ${subject.image} is not in the catalogue any more`
  const refused = whyBooted(image, subject.memoryMib, options.config)
  if (refused !== undefined) return refused
  try {
    const now = await describeTemplate({
      machine: { ...options.machine, image },
      size: subject,
      uid: subject.uid ?? 0,
      hypervisorVersion: options.hypervisorVersion ?? parts.libvirt,
    })
    return renderDifferences(parts, now.parts)
  } catch (thrown) {
    return toVmrmError(thrown).message
  }
}

/** Such as `image was tiny@1, now tiny@2; master has changed`. */
function renderDifferences(before: TemplateParts, now: TemplateParts): string | undefined {
  const texts = differingParts(before, now).map((name) => {
    const isShort = Math.max(before[name].length, now[name].length) <= shownCharacters
    return isShort ? `${name} was ${before[name]}, now ${now[name]}` : `${name} has changed`
  })
  return texts.length === 0 ? undefined : texts.join('; ')
}

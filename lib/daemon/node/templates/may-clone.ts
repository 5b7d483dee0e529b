// Whether VMs of an image can be cloned at all. Pure.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { whatForbidsCloning } from '../../../vm/clonable.ts'
import { parseSiteFragment } from '../../../vm/site-fragment.ts'

/** Why VMs of that image and size boot on this node, for people; undefined: they may be cloned. */
export function whyBooted(image: Image, memoryMib: number, config: DaemonConfig): string | undefined {
  if (image.template.use === 'never') return `image ${image.name} says <template use="never"/>`
  const { maxMib, maxMemoryMib } = config.templates
  if (maxMib === 0) return 'this node keeps no templates (templates/@max-mib is 0)'
  if (memoryMib > maxMemoryMib)
    return `a VM of ${memoryMib} MiB is larger than templates/@max-memory-mib allows (${maxMemoryMib} MiB)`
  if (image.boot.kind === 'firmware' && image.boot.firmware === 'uefi')
    return `image ${image.name} boots with UEFI, whose variables belong to one VM`
  if (image.domain === undefined) return undefined
  const forbids = whatForbidsCloning(parseSiteFragment(image.domain))
  return forbids === undefined ? undefined : `the <domain> fragment of image ${image.name} has ${forbids}`
}

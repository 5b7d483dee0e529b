// Whether VMs of an image can be cloned at all. Pure.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { parseSiteFragment } from '../../../vm/site-fragment.ts'

/** Parts of a <domain> fragment whose state QEMU cannot save, that are one VM's alone, or that decide where memory is. */
const elements = ['launchSecurity', 'memoryBacking', 'numatune', 'qemu:commandline', 'qemu:override']
const devices = ['filesystem', 'hostdev', 'shmem', 'tpm', 'vsock']

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
  const fragment = parseSiteFragment(image.domain)
  const found = [
    ...elements.filter((name) => fragment.elements.has(name)),
    ...devices.filter((name) => new RegExp(`<${name}[\\s/>]`).test(fragment.devices)),
  ]
  if (found.length === 0) return undefined
  return `the <domain> fragment of image ${image.name} has <${found[0]}>, which cannot be cloned`
}

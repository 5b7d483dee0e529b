// Whether VMs of an image can be cloned at all, as far as its <domain> fragment tells. What only QEMU can know shows when a
// template is made.
import type { SiteFragment } from './site-fragment.ts'

/** They say where the memory is, or keep it from everybody; cloning has the memory in a file of its own. */
const ofMemory = ['memoryBacking', 'numatune', 'launchSecurity']
/** Devices whose state is outside QEMU, or is one VM's only. */
const outside = /<(hostdev|filesystem|shmem|vsock|tpm)\b/

/** The element that stands in the way; undefined when there is none. */
export function whatForbidsCloning({ elements, devices }: SiteFragment): string | undefined {
  const element = ofMemory.find((name) => elements.has(name))
  if (element !== undefined) return `<${element}>`
  if (/<numa\b/.test(elements.get('cpu') ?? '')) return '<numa>'
  const device = outside.exec(devices)
  return device === null ? undefined : `<${device[1]}>`
}

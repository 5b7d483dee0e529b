// The file that a template's or a clone's memory is in, as QEMU's arguments: libvirt puts a VM's memory only where it wants
// and shares it with none. Pure.
import { escapeXml } from './xml-text.ts'

/**
 * `template`: QEMU writes the memory into the file, for clones to come. `clone`: QEMU reads the file, keeps what its guest
 * changes to itself, and waits for the rest of the state (`Hypervisor.load`). The file is there beforehand, empty or of the
 * VM's size, and its owner is the VM's: QEMU 7.2 opens it for writing in both cases, so no other run's VM may share a file.
 */
export interface DomainMemory {
  readonly kind: 'template' | 'clone'
  readonly path: string
}

/** The memory's name in the stream of a VM's state: the same in a template, in its clones, and in what becomes of them. */
export const memoryId = 'vmrm.ram'

/** `<qemu:commandline>` of the memory and of what a site adds; empty when there is neither. */
export function renderQemuArguments(
  { memory, memoryMib }: { readonly memory?: DomainMemory; readonly memoryMib: number },
  ofSite: string | undefined,
): string {
  if (memory === undefined) return ofSite ?? ''
  const object = JSON.stringify({
    'qom-type': 'memory-backend-file',
    id: memoryId,
    size: memoryMib * 1024 * 1024,
    'mem-path': memory.path,
    share: memory.kind === 'template',
  })
  const values = ['-object', object, '-machine', `memory-backend=${memoryId}`]
  if (memory.kind === 'clone') values.push('-incoming', 'defer')
  const own = values.map((value) => `<qemu:arg value="${escapeXml(value)}"/>`).join('')
  // Arguments come before variables in libvirt's schema.
  if (ofSite === undefined) return `<qemu:commandline>${own}</qemu:commandline>`
  return ofSite.replace('<qemu:commandline>', `<qemu:commandline>${own}`)
}

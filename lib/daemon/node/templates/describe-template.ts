// What a template for VMs of an image and size would be, now, on this node: all that its key is made of. It changes nothing.
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { release } from 'node:os'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { filePart, type TemplateParts, templateKey } from '../../../image/template/key.ts'
import { renderDomainXml } from '../../../vm/domain-xml.ts'
import { type Machine, templateDomainOf } from '../vms/domain-of.ts'
import type { TemplateSubject } from './template-folder.ts'

export interface TemplatePlan {
  readonly key: string
  readonly subject: TemplateSubject
  readonly parts: TemplateParts
  readonly machine: Machine
}

const defaultEmulator = '/usr/bin/qemu-system-x86_64'
/** Stands for the names of one template in the XML, so that it is the same for all. */
const nobody = { key: '0'.repeat(24), files: { folder: '/t', ram: '/t/ram', disk: '/t/disk' }, uid: 1 } as const

/** Rejects with `config-invalid` where a file that the image names cannot be looked at. */
export async function describeTemplate(options: {
  machine: Machine
  size: { vcpus: number; memoryMib: number }
  /** Whose VMs are to come from it, where the image does not share its templates. */
  uid: number
  hypervisorVersion: string
}): Promise<TemplatePlan> {
  const { machine, size, hypervisorVersion } = options
  const { image, config, accelerator } = machine
  const uid = image.template.sharing === 'user' ? options.uid : undefined
  const { boot } = image
  const [master, kernel, initrd, seed, emulator, processor] = await Promise.all([
    partOfFile(image.master.path),
    boot.kind === 'direct' ? partOfFile(boot.kernel) : filePart(undefined),
    boot.kind === 'direct' && boot.initrd !== undefined ? partOfFile(boot.initrd) : filePart(undefined),
    image.os.agent === 'seed' ? partOfFile(config.paths.seed) : filePart(undefined),
    partOfFile(/<emulator>([^<]+)<\/emulator>/.exec(image.domain ?? '')?.[1] ?? defaultEmulator),
    processorPart(),
  ])
  const parts: TemplateParts = {
    image: `${image.name}@${image.revision}`,
    master: `${image.master.format} ${master}`,
    ...{ kernel, initrd, seed, emulator },
    vcpus: String(size.vcpus),
    memory: `${size.memoryMib} MiB`,
    domain: renderDomainXml(templateDomainOf({ ...machine, size, ...nobody })),
    libvirt: hypervisorVersion,
    processor: `${accelerator} on ${processor}`,
    'host-kernel': release(),
    user: uid === undefined ? 'all' : `uid ${uid}`,
  }
  const subject = {
    image: image.name,
    vcpus: size.vcpus,
    memoryMib: size.memoryMib,
    ...(uid === undefined ? {} : { uid }),
  }
  return { key: templateKey(parts), subject, parts, machine }
}

async function partOfFile(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch((cause: Error) => {
    throw new VmrmError('config-invalid', `${path} cannot be looked at: ${cause.message}`, { cause })
  })
  return filePart({ path, inode: found.ino, bytes: found.size, changedNs: found.mtimeNs })
}

/** The first CPU's model and what it can do: a guest that was told of more must not go on with less. */
async function processorPart(): Promise<string> {
  const text = await readFile('/proc/cpuinfo', 'utf8')
  const first = text.split('\n\n')[0] ?? ''
  const fieldOf = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, 'm').exec(first)?.[1] ?? '?'
  const numbers = ['vendor_id', 'cpu family', 'model', 'stepping'].map(fieldOf).join(' ')
  const flags = createHash('sha256').update(fieldOf('flags')).digest('hex').slice(0, 12)
  return `${fieldOf('model name')} (${numbers}), flags ${flags}`
}

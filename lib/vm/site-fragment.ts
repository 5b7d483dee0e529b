// An image's <domain> fragment: libvirt's own XML for what vmrm does not model. It decides what a fragment may say; what
// identity, isolation, networking and checkpoints rest on stays vmrm's.
import { XMLBuilder, XMLParser } from 'fast-xml-parser'
import { VmrmError } from '../errors/vmrm-error.ts'
import { type OrderedNode, orderedXml } from './ordered-xml.ts'

export interface SiteFragment {
  /** Children of <domain> by name, rendered; each replaces vmrm's own of that name. */
  readonly elements: ReadonlyMap<string, string>
  /** Children of <devices>, rendered; they come after vmrm's own. */
  readonly devices: string
}

export const emptyFragment: SiteFragment = { elements: new Map(), devices: '' }

const allowedElements = new Set([
  'blkiotune',
  'clock',
  'cpu',
  'cputune',
  'devices',
  'iothreads',
  'keywrap',
  'launchSecurity',
  'memoryBacking',
  'numatune',
  'qemu:capabilities',
  'qemu:commandline',
  'qemu:override',
  'sysinfo',
])
const allowedDevices = new Set([
  'audio',
  'controller',
  'crypto',
  'emulator',
  'filesystem',
  'graphics',
  'hostdev',
  'input',
  'iommu',
  'shmem',
  'sound',
  'tpm',
  'video',
  'vsock',
  'watchdog',
])
const allowedAttributes = new Set(['xmlns:qemu'])

const options = { ...orderedXml, trimValues: true } as const

/** Throws `config-invalid`, naming what is wrong, for anything but a <domain> of elements that are the site's to choose. */
export function parseSiteFragment(xml: string): SiteFragment {
  if (/<!/.test(xml.replace(/<!--[\s\S]*?-->/g, ''))) throw invalid('it has a DTD, an entity or a CDATA section')
  const domain = parseRoot(xml)
  for (const name of Object.keys((domain[':@'] as Record<string, string>) ?? {})) {
    if (!allowedAttributes.has(name)) throw invalid(`<domain> has the attribute ${name}`)
  }
  const elements = new Map<string, string>()
  let devices = ''
  for (const child of childrenOf(domain, 'domain')) {
    const name = nameOf(child)
    if (!allowedElements.has(name)) throw invalid(`<${name}> is not a site's to set`)
    if (name === 'devices') devices += renderDevices(child)
    else if (elements.has(name)) throw invalid(`<${name}> is there twice`)
    else elements.set(name, render([child]))
  }
  return { elements, devices }
}

function parseRoot(xml: string): OrderedNode {
  let nodes: OrderedNode[]
  try {
    nodes = new XMLParser(options).parse(xml, true) as OrderedNode[]
  } catch (cause) {
    throw invalid(cause instanceof Error ? cause.message : String(cause), cause)
  }
  const [root, ...others] = nodes.filter((node) => !('?xml' in node))
  if (root === undefined || others.length > 0 || nameOf(root) !== 'domain') throw invalid('it is not one <domain>')
  return root
}

function renderDevices(node: OrderedNode): string {
  const devices = childrenOf(node, 'devices')
  for (const device of devices) {
    const name = nameOf(device)
    if (!allowedDevices.has(name)) throw invalid(`<devices> has <${name}>, which is not a site's to set`)
  }
  return render(devices)
}

function nameOf(node: OrderedNode): string {
  return Object.keys(node).find((key) => key !== ':@') ?? ''
}

function childrenOf(node: OrderedNode, name: string): OrderedNode[] {
  const children = (node[name] as OrderedNode[]).filter((child) => !('#text' in child))
  if (children.length < (node[name] as OrderedNode[]).length) throw invalid(`<${name}> has text of its own`)
  return children
}

function render(nodes: OrderedNode[]): string {
  return String(new XMLBuilder({ ...options, suppressEmptyNode: true }).build(nodes))
}

function invalid(why: string, cause?: unknown): VmrmError {
  return new VmrmError('config-invalid', `The <domain> fragment of the image cannot be used: ${why}.`, { cause })
}

// The XML of a VM that goes on elsewhere: restored from a checkpoint or migrated. Text in, text out; it starts nothing.
import assert from 'node:assert/strict'
import { XMLBuilder, XMLParser } from 'fast-xml-parser'
import { memoryId } from './domain-memory.ts'
import { type OrderedNode, orderedXml } from './ordered-xml.ts'
import { escapeXml } from './xml-text.ts'

const options = { ...orderedXml, trimValues: false } as const

/**
 * From the migratable XML that libvirt tells of a domain: the same domain for another place. It waits for no state of a
 * template and has memory of its own; a VM that was never a clone loses nothing. `moved` names files, sockets and taps that
 * are called otherwise there. The stream of its state fits, as no device changes.
 */
export function movedDomainXml(xml: string, moved: ReadonlyMap<string, string> = new Map()): string {
  const nodes = new XMLParser(options).parse(xml) as OrderedNode[]
  const domain = nodes.find((node) => 'domain' in node)
  assert(domain !== undefined, 'a domain of libvirt')
  const children = domain.domain as OrderedNode[]
  const devices = children.find((node) => 'devices' in node)?.devices as OrderedNode[] | undefined
  if (devices !== undefined)
    rename(devices, new Map([...moved].map((pair) => [escapeXml(pair[0]), escapeXml(pair[1])])))
  const commandLine = children.find((node) => 'qemu:commandline' in node)
  if (commandLine !== undefined)
    commandLine['qemu:commandline'] = detach(commandLine['qemu:commandline'] as OrderedNode[])
  return String(new XMLBuilder({ ...options, suppressEmptyNode: true }).build(nodes))
}

/** Every file, path and device that has another name there. */
function rename(nodes: readonly OrderedNode[], moved: ReadonlyMap<string, string>): void {
  for (const node of nodes) {
    const attributes = (node[':@'] ?? {}) as Record<string, string>
    for (const name of ['file', 'path', 'dev']) {
      const to = moved.get(attributes[name] ?? '')
      if (to !== undefined) attributes[name] = to
    }
    for (const [name, children] of Object.entries(node))
      if (name !== ':@' && Array.isArray(children)) rename(children, moved)
  }
}

const argumentOf = (node: OrderedNode | undefined) => (node?.[':@'] as Record<string, string> | undefined)?.value

/** Arguments come in pairs of ours: `-incoming defer` goes, and the memory is no file's. */
function detach(args: readonly OrderedNode[]): OrderedNode[] {
  const kept = args.filter((node) => !('#text' in node))
  const at = kept.findIndex(
    (node, index) => argumentOf(node) === '-incoming' && argumentOf(kept[index + 1]) === 'defer',
  )
  if (at >= 0) kept.splice(at, 2)
  for (const node of kept) {
    const memory = memoryOf(argumentOf(node) ?? '')
    if (memory === undefined) continue
    const object = { 'qom-type': 'memory-backend-ram', id: memoryId, size: memory.size }
    node[':@'] = { value: escapeXml(JSON.stringify(object)) }
  }
  return kept
}

/** Our memory object in an argument as it stands in XML; undefined for any other argument. */
function memoryOf(value: string): { readonly size: unknown } | undefined {
  const named: Record<string, string> = { quot: '"', apos: "'", lt: '<', gt: '>', amp: '&' }
  const text = value.replace(/&(quot|apos|lt|gt|amp);/g, (_, name: string) => named[name] ?? '')
  if (!text.startsWith('{') || !text.includes(JSON.stringify(memoryId))) return undefined
  const object = JSON.parse(text) as Record<string, unknown>
  return object.id === memoryId ? { size: object.size } : undefined
}

// What vmrm writes about a VM into its domain, and reads back: the hypervisor is the truth about what exists.
import { XMLParser } from 'fast-xml-parser'
import { escapeXml } from './xml-text.ts'

/** A name, not a place: libvirt wants one namespace for each writer of metadata. */
const metadataNamespace = 'urn:vmrm:domain:1'

export interface DomainMetadata {
  /** `j123r0`. */
  readonly run: string
  /** Login name; the image's owner may be anyone, so it is data. */
  readonly user: string
  /** `NAME@REV`. */
  readonly image: string
  /** Counts the run's VMs over all nodes. */
  readonly index: number
  /** Slurm cluster: several may share a node's libvirtd. */
  readonly cluster: string
}

export function renderMetadata({ run, user, image, index, cluster }: DomainMetadata): string {
  const attributes = Object.entries({ run, user, image, index, cluster })
    .map(([name, value]) => ` ${name}="${escapeXml(value)}"`)
    .join('')
  return `<vmrm:vm xmlns:vmrm="${metadataNamespace}"${attributes}/>`
}

/**
 * The metadata in a domain's XML; undefined for a domain that is not of vmrm. Only what stands in domain/metadata under our
 * namespace counts, whatever else the domain holds.
 */
export function parseVmrmMetadata(xml: string): DomainMetadata | undefined {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: '@',
    parseAttributeValue: false,
    parseTagValue: false,
    htmlEntities: true, // and with them numbers, as libvirt writes line ends
    isArray: (name) => name.endsWith(':vm'),
  })
  let parsed: unknown
  try {
    parsed = parser.parse(xml)
  } catch {
    return undefined // not what libvirt writes, so not a domain of ours
  }
  const metadata = (parsed as { domain?: { metadata?: Record<string, unknown> } }).domain?.metadata
  if (typeof metadata !== 'object') return undefined
  for (const [name, elements] of Object.entries(metadata)) {
    const prefix = /^([\w.-]+):vm$/.exec(name)?.[1]
    if (prefix === undefined || !Array.isArray(elements)) continue
    const [element] = elements as Record<string, string>[]
    if (element?.[`@xmlns:${prefix}`] === metadataNamespace) return readElement(element)
  }
  return undefined
}

function readElement(element: Record<string, string>): DomainMetadata | undefined {
  const { '@run': run, '@user': user, '@image': image, '@index': index, '@cluster': cluster } = element
  if (run === undefined || user === undefined || image === undefined || cluster === undefined) return undefined
  if (index === undefined || !/^\d{1,9}$/.test(index)) return undefined
  return { run, user, image, index: Number(index), cluster }
}

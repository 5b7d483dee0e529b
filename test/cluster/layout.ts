// Where everything of a test cluster is and what its hosts are called. Pure: it looks at nothing and changes nothing.
import { createHash } from 'node:crypto'
import { join, resolve } from 'node:path'

export interface Host {
  readonly name: string
  readonly role: 'controller' | 'node'
  readonly address: string
  /** The host's private files; what is below is bound into the host (host-root.ts). */
  readonly folder: string
  readonly log: string
}

export interface Layout {
  readonly folder: string
  readonly repository: string
  /** Output of test/images: master files and `*.xml` catalogue entries. */
  readonly images: string
  /** This cluster's group in every cgroup hierarchy; each host has one below it. */
  readonly cgroup: string
  readonly hosts: readonly Host[]
}

export const maxNodes = 16
export const controllerName = 'ctl'
export const prefixBits = 24

/** `folder` is made absolute. Different folders give clusters that can be up at the same time. */
export function createLayout(options: {
  folder: string
  images: string
  repository: string
  nodeCount: number
}): Layout {
  const folder = resolve(options.folder)
  const host = (name: string, role: Host['role'], address: string): Host => ({
    name,
    role,
    address,
    folder: join(folder, 'hosts', name),
    log: join(folder, 'log', name),
  })
  const nodes = Array.from({ length: options.nodeCount }, (_, i) => host(`n${i + 1}`, 'node', `10.99.0.${11 + i}`))
  return {
    folder,
    repository: resolve(options.repository),
    images: resolve(options.images),
    cgroup: `vmrm-cluster-${createHash('sha256').update(folder).digest('hex').slice(0, 10)}`,
    hosts: [host(controllerName, 'controller', '10.99.0.1'), ...nodes],
  }
}

/** What differs between clusters of the same shape; kept beside them so that every command agrees. */
export interface ClusterSettings {
  readonly nodeCount: number
  readonly cpusPerNode: number
  readonly memoryMibPerNode: number
  readonly vmrm: 'with-vmrm' | 'without-vmrm'
  /** slurmdbd with a database of its own on the controller, for sacct and sstat. */
  readonly accounting: 'with-accounting' | 'without-accounting'
  /** task/affinity and a cpuset for each step; needs nodes that claim no more CPUs than the machine has. */
  readonly binding: 'bound-tasks' | 'unbound-tasks'
}

export const defaultSettings: ClusterSettings = {
  nodeCount: 2,
  cpusPerNode: 8,
  memoryMibPerNode: 6000,
  vmrm: 'with-vmrm',
  accounting: 'without-accounting',
  binding: 'unbound-tasks',
}

export function hostNamed(layout: Layout, name: string): Host {
  const host = layout.hosts.find((each) => each.name === name)
  if (host === undefined)
    throw new Error(`there is no host ${name}: it has ${layout.hosts.map((h) => h.name).join(', ')}`)
  return host
}

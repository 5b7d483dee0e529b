// The cluster's settings on disk: what a later command must know about the cluster that is up. Processes are never taken from here.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ClusterSettings, createLayout, defaultSettings, type Layout } from './layout.ts'

const statePath = (folder: string): string => join(folder, 'state.json')

/** undefined where no cluster was brought up in this folder. */
export function readSettings(folder: string): ClusterSettings | undefined {
  if (!existsSync(statePath(folder))) return undefined
  return { ...defaultSettings, ...(JSON.parse(readFileSync(statePath(folder), 'utf8')) as Partial<ClusterSettings>) }
}

export function writeSettings(folder: string, settings: ClusterSettings): void {
  const path = statePath(folder)
  writeFileSync(`${path}.new`, `${JSON.stringify(settings, null, 2)}\n`)
  renameSync(`${path}.new`, path)
}

export const clusterFolder = (): string => process.env.VMRM_CLUSTER_DIR ?? '/var/tmp/vmrm-cluster'

/** The layout of the cluster in this folder, by default the one that VMRM_CLUSTER_DIR names, for these settings. */
export function currentLayout(settings: ClusterSettings, folder: string = clusterFolder()): Layout {
  return createLayout({
    folder,
    images: process.env.VMRM_IMAGES ?? '/var/tmp/vmrm-images',
    repository: join(import.meta.dirname, '../..'),
    nodeCount: settings.nodeCount,
  })
}

// The folders that a node's daemon works in, with the modes that let QEMU's users through to their own files and to no others'.
import { chmod, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'

/** Where vmrm-gate and this daemon keep the jobs' markers. */
export function markersFolder({ paths }: DaemonConfig): string {
  return join(paths.runtime, 'jobs')
}

export async function makeFolders(config: DaemonConfig): Promise<void> {
  const { runtime, runs } = config.paths
  await mkdir(runtime, { recursive: true, mode: 0o755 })
  await mkdir(markersFolder(config), { recursive: true, mode: 0o755 })
  await mkdir(runs, { recursive: true, mode: 0o711 })
  // QEMU's own users must get through to their files, and see no others.
  await chmod(runs, 0o711)
  if (config.nfs.server !== 'none') await mkdir(config.nfs.exportsFolder, { recursive: true, mode: 0o700 })
}

// The files of one VM: its folder, its overlay over the master (or over a template's disk), its console.
import { chown, mkdir, open } from 'node:fs/promises'
import type { Image } from '../../../config/image-schema.ts'
import { readImageSize } from '../../../image/master.ts'
import { createOverlay } from '../../../image/overlay.ts'
import type { CloneSource, VmFiles } from './domain-of.ts'

/** None of the files may exist. */
export async function makeVmFiles(
  files: VmFiles,
  options: { image: Image; owner: { uid: number; gid: number }; source?: CloneSource | undefined },
): Promise<void> {
  const { image, owner, source } = options
  const { path, format } = image.master
  await mkdir(files.folder, { mode: 0o700, recursive: true })
  await chown(files.folder, owner.uid, owner.gid)
  // A template's disk is as large as its master.
  const virtualSizeBytes = await readImageSize(path, format)
  const below =
    source === undefined
      ? { backingPath: path, backingFormat: format }
      : { backingPath: source.disk, backingFormat: 'qcow2' as const }
  await createOverlay({ path: files.overlay, ...below, virtualSizeBytes, owner })
  await makeConsole(files.console, owner)
}

/** QEMU appends to it, and may not make it. */
export async function makeConsole(path: string, owner: { uid: number; gid: number }): Promise<void> {
  const console = await open(path, 'wx', 0o600)
  try {
    await console.chown(owner.uid, owner.gid)
  } finally {
    await console.close()
  }
}

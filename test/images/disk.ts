// Makes the master disk from a folder, without mounts or loop devices. Equal folders give equal file systems.
import { rm, truncate, writeFile } from 'node:fs/promises'
import { runTool, runToolAsOwner } from './tools.ts'

const inodes = 131_072
// Fixed, so that a rebuild from the same packages can be compared; vmrm never mounts two of these in one guest.
const uuid = '76d2c1d0-7669-4d72-8d61-73746572696e'

export interface DiskOptions {
  readonly root: string
  /** The qcow2 file to write. */
  readonly path: string
  /** Of the file system, at most 16 characters. */
  readonly label: string
  /** What the guest sees; the file only holds what is used. */
  readonly sizeMib: number
  readonly signal: AbortSignal
}

/** No journal: a VM's disk lives no longer than its job, and a checkpoint saves memory and disk together. */
export async function makeDisk({ root, path, label, sizeMib, signal }: DiskOptions): Promise<void> {
  const raw = `${path}.raw`
  await writeFile(raw, '')
  await truncate(raw, sizeMib * 1024 * 1024)
  // ext_attr: programs have capabilities there (ping).
  const features = 'extent,ext_attr,^has_journal,^resize_inode,^metadata_csum_seed,metadata_csum'
  const extended = `root_owner=0:0,hash_seed=${uuid},lazy_itable_init=0,nodiscard`
  const args = ['-q', '-F', '-t', 'ext4', '-L', label, '-U', uuid, '-N', String(inodes), '-m', '0', '-O', features]
  // MKE2FS_CONFIG: the builder's own mke2fs.conf must not change the image.
  const env = { E2FSPROGS_FAKE_TIME: '1700000000', MKE2FS_CONFIG: '/dev/null' }
  await runToolAsOwner('mke2fs', [...args, '-b', '4096', '-I', '256', '-E', extended, '-d', root, raw], { env, signal })
  await runTool('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, path], { signal })
  await rm(raw)
}

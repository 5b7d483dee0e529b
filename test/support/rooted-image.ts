// The tiny image with a way to become the guest's root, for tests of what a guest's root can do. It never touches tiny itself.
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { buildStatic, changeDisk, copyDisk, putFile, readFromDisk } from './changed-disk.ts'
import type { Cluster } from './cluster.ts'
import type { TestImage } from './test-images.ts'

const source = join(import.meta.dirname, '../jobs/isolation/become-root.c')

export interface RootedImage extends TestImage {
  readonly master: string
  readonly sha256: string
}

export const sha256Of = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex')

/**
 * Makes the master in the cluster's folder; `become-root CMD` is in the PATH of its guests, and `atBoot` is the first that its boot
 * does beside the agent. The caller removes the master.
 */
export async function makeRootedImage(cluster: Cluster, { atBoot }: { atBoot?: string } = {}): Promise<RootedImage> {
  const folder = join(cluster.layout.folder, 'rooted')
  mkdirSync(folder, { recursive: true })
  const [program, raw, master] = ['become-root', 'raw', 'rooted.qcow2'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ]
  const tiny = join(cluster.layout.images, 'tiny.qcow2')
  await buildStatic(source, program)
  await copyDisk(tiny, raw)
  await changeDisk(raw, putFile(program, '/usr/bin/become-root', '0104755'))
  if (atBoot !== undefined) {
    const late = join(folder, 'late')
    writeFileSync(late, (await readFromDisk(raw, '/etc/vmrm/late')).replace('\n', `\n${atBoot}\n`))
    await changeDisk(raw, putFile(late, '/etc/vmrm/late', '0100755'))
  }
  await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, master], { timeout: 60_000 })
  rmSync(raw)
  const sha256 = sha256Of(master)
  const changes = [
    [/<master path="[^"]*"/, `<master path="${master}"`],
    [/sha256="[^"]*"/, `sha256="${sha256}"`],
  ] as const
  return { name: 'rooted', changes, master, sha256 }
}

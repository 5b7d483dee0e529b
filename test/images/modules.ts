// Which kernel modules an image needs, resolved through depmod's modules.dep. Pure.
import { VmrmError } from '../../lib/errors/vmrm-error.ts'

/** Loaded by the initramfs, before the agent starts: without these there is no disk, no port and no network card. */
export const earlyModules = ['virtio_pci', 'virtio_blk', 'virtio_console', 'virtio_net'] as const

/** Loaded beside the agent; the NFS client first, since it takes half a second and most jobs mount their home. */
export const lateModules = ['nfsv4', 'virtio-rng', 'pvpanic-mmio', 'pvpanic-pci', 'virtio_balloon'] as const

/**
 * Loaded by the kernel or by mount when they are needed. Not rpcsec_gss_krb5: the NFS client asks for it at each first mount,
 * Kerberos or not, and loading it and auth_rpcgss made jobs wait for nothing.
 */
export const onDemandModules = [
  ...['nfs', 'nfsv3', 'nfsv4', 'nfs_layout_nfsv41_files', 'nfs_layout_flexfiles', 'sunrpc'],
  ...['isofs', 'virtio_scsi', 'overlay', 'fuse', 'virtiofs', 'loop', 'virtio_mem', 'squashfs', 'vfat'],
] as const

const nameOf = (path: string): string => (path.split('/').at(-1) ?? path).replace(/\.ko$/, '').replaceAll('-', '_')

export class ModuleIndex {
  /** Path by name, and direct and indirect needs by path, as modules.dep lists them. */
  readonly #paths = new Map<string, string>()
  readonly #needs = new Map<string, string[]>()

  constructor(modulesDep: string, builtin: string) {
    for (const line of modulesDep.split('\n')) {
      const [path, needs] = line.split(':')
      if (path === undefined || needs === undefined) continue
      this.#paths.set(nameOf(path), path)
      this.#needs.set(path, needs.split(' ').filter(Boolean))
    }
    for (const path of builtin.split('\n').filter(Boolean)) this.#paths.set(nameOf(path), '')
  }

  /**
   * Paths of the modules and all they need, each once, what is needed first. What is built into the kernel is left out.
   * Throws `command-failed` for a module that this kernel has not.
   */
  closure(modules: readonly string[]): string[] {
    const found = new Set<string>()
    for (const name of modules) {
      const path = this.#paths.get(nameOf(name))
      if (path === undefined) throw new VmrmError('command-failed', `building an image: the kernel has no ${name}`)
      if (path === '') continue
      // modules.dep names the nearest first; the last one needs nothing.
      for (const one of [path, ...(this.#needs.get(path) ?? [])].reverse()) found.add(one)
    }
    return [...found]
  }
}

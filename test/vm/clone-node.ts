// A node for tests of cloning: a private libvirtd, the hypervisor port over it, and specs of VMs of the tiny image. Nodes of one
// test share a folder, as if all their disks were one. All of it ends with the test.
import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadImage } from '../../lib/config/load.ts'
import { readImageSize } from '../../lib/image/master.ts'
import { createOverlay } from '../../lib/image/overlay.ts'
import { connectLibvirt, type LibvirtConnection } from '../../lib/libvirt/index.ts'
import { silentLog } from '../../lib/log.ts'
import type { DomainMemory } from '../../lib/vm/domain-memory.ts'
import { domainUuid } from '../../lib/vm/domain-uuid.ts'
import type { DomainSpec } from '../../lib/vm/domain-xml.ts'
import type { Hypervisor } from '../../lib/vm/hypervisor.ts'
import { createLibvirtHypervisor } from '../../lib/vm/libvirt-hypervisor.ts'
import { type PrivateLibvirtd, startLibvirtd } from '../support/libvirtd.ts'

const image = loadImage('/var/tmp/vmrm-images/tiny.xml')
const cluster = 'test'
export const owner = { uid: 61_112, gid: 61_112 }

/** On a disk, where a run's files are; not on tmpfs. */
export function makeSharedFolder(): string {
  const folder = mkdtempSync('/var/tmp/vmrm-clone-')
  chmodSync(folder, 0o755)
  return folder
}

export interface SpecOptions {
  readonly name: string
  readonly memory?: DomainMemory
  /** The template whose disk a clone's overlay lies on. */
  readonly template?: DomainSpec
  readonly memoryMib?: number
}

export class CloneNode {
  readonly libvirtd: PrivateLibvirtd
  readonly hypervisor: Hypervisor
  readonly #folder: string
  #taps = 0

  private constructor(libvirtd: PrivateLibvirtd, folder: string) {
    this.libvirtd = libvirtd
    this.#folder = folder
    this.hypervisor = createLibvirtHypervisor({
      socketPath: libvirtd.socketPath,
      uri: 'qemu:///system',
      pidFolder: join(libvirtd.folder, 'run/qemu'),
      logFolder: join(libvirtd.folder, 'log/qemu'),
      cluster,
      log: silentLog,
    })
  }

  static async start(folder: string): Promise<CloneNode> {
    return new CloneNode(await startLibvirtd(), folder)
  }

  connect(): Promise<LibvirtConnection> {
    return connectLibvirt({ socketPath: this.libvirtd.socketPath, uri: 'qemu:///system', log: silentLog })
  }

  run(...argv: string[]): string {
    const [file = '', ...args] = this.libvirtd.enter(argv)
    return execFileSync(file, args, { encoding: 'utf8', timeout: 60_000, stdio: 'pipe' })
  }

  makeTap(state: 'up' | 'down'): string {
    const tap = `vt000001-${this.#taps++}`
    this.run('/usr/sbin/ip', 'tuntap', 'add', 'dev', tap, 'mode', 'tap', 'user', String(owner.uid))
    this.run('/usr/sbin/ip', 'link', 'set', tap, 'mtu', '1450', state)
    return tap
  }

  /** The spec of a VM whose files and tap are made for it. */
  async makeVm({ name, memory, template, memoryMib = 128 }: SpecOptions): Promise<DomainSpec> {
    const home = join(this.#folder, name)
    mkdirSync(home)
    chownSync(home, owner.uid, owner.gid)
    const { path, format } = image.master
    const below =
      template === undefined
        ? { backingPath: path, backingFormat: format }
        : { backingPath: template.overlay.path, backingFormat: 'qcow2' as const, base: { path, format } }
    const overlay = { path: join(home, 'overlay.qcow2'), ...below }
    await createOverlay({ ...overlay, virtualSizeBytes: await readImageSize(path, format), owner })
    writeFileSync(join(home, 'console.log'), '')
    chownSync(join(home, 'console.log'), owner.uid, owner.gid)
    const index = this.#taps
    if (image.boot.kind !== 'direct') throw new Error('the tiny image boots its kernel directly')
    const { kernel, initrd, commandLine: cmdline } = image.boot
    return {
      name,
      uuid: domainUuid({ cluster, vm: name }),
      title: name,
      metadata: { run: 'j1r0', user: 'tess', image: 'tiny@1', index, cluster },
      accelerator: 'qemu',
      vcpus: 1,
      memoryMib,
      ...(memory === undefined ? {} : { memory }),
      boot: { kind: 'direct', kernel, ...(initrd === undefined ? {} : { initrd }), cmdline },
      overlay,
      nic: {
        mac: `52:54:76:00:00:${10 + index}`,
        tap: this.makeTap(memory?.kind === 'template' ? 'down' : 'up'),
        mtu: 1450,
      },
      consolePath: join(home, 'console.log'),
      consoleSocketPath: join(home, 'console.sock'),
      agentSocketPath: join(home, 'agent.sock'),
      owner,
      tcgCacheMib: 64,
    }
  }

  async stop(): Promise<void> {
    await this.hypervisor.close()
    await this.libvirtd.stop()
  }
}

/** An empty file that the VMs' owner may open for its memory. */
export function makeMemoryFile(path: string): string {
  writeFileSync(path, '', { mode: 0o600, flag: 'wx' })
  chownSync(path, owner.uid, owner.gid)
  return path
}

export function removeSharedFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

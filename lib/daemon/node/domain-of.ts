// The hypervisor's view of one VM, from the share and the image. Pure.
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Image } from '../../config/image-schema.ts'
import { runId } from '../../job/run.ts'
import { tapName } from '../../network/names.ts'
import type { Share } from '../../protocol/messages/share.ts'
import { domainUuid } from '../../vm/domain-uuid.ts'
import type { DomainBoot, DomainSpec } from '../../vm/domain-xml.ts'
import { parseSiteFragment } from '../../vm/site-fragment.ts'
import type { JournalEntry } from './journal.ts'

export interface VmFiles {
  readonly folder: string
  readonly overlay: string
  readonly agentSocket: string
  readonly console: string
  /** Who connects to it has the serial console, both ways. */
  readonly consoleSocket: string
}

/** Where a VM's files are, below its run's folder. */
export function vmFiles(runFolder: string, index: number): VmFiles {
  const folder = join(runFolder, `v${index}`)
  return {
    folder,
    overlay: join(folder, 'overlay.qcow2'),
    agentSocket: join(folder, 'agent.sock'),
    console: join(folder, 'console.log'),
    consoleSocket: join(folder, 'console.sock'),
  }
}

export function domainOf(options: {
  entry: JournalEntry
  share: Share
  /** The VM's place among those of this node, counted from 0. */
  position: number
  image: Image
  config: DaemonConfig
  accelerator: 'kvm' | 'qemu'
  qemuGid: number
  runFolder: string
}): DomainSpec {
  const { entry, share, position, image, config, accelerator } = options
  const vm = share.vms[position]
  if (vm === undefined) throw new RangeError(`no VM ${position}`)
  const files = vmFiles(options.runFolder, vm.index)
  const { cluster, hypervisor } = config
  return {
    name: vm.name,
    uuid: domainUuid({ cluster: cluster.name, vm: vm.name }),
    title: `${vm.hostname}: job ${entry.job} of ${entry.user}, image ${image.name}`,
    metadata: {
      run: runId(entry),
      user: entry.user,
      image: `${image.name}@${image.revision}`,
      index: vm.index,
      cluster: cluster.name,
    },
    accelerator,
    vcpus: vm.vcpus,
    memoryMib: vm.memoryMib,
    boot: bootOf(image.boot, files),
    ...(image.os.agent === 'seed' ? { seedPath: config.paths.seed } : {}),
    overlay: { path: files.overlay, backingPath: image.master.path, backingFormat: image.master.format },
    nic: { mac: vm.mac, tap: tapName(share.vni, position), mtu: image.network.mtu },
    consolePath: files.console,
    consoleSocketPath: files.consoleSocket,
    agentSocketPath: files.agentSocket,
    owner: { uid: entry.qemuUid, gid: options.qemuGid },
    tcgCacheMib: hypervisor.tcgCacheMib,
    ...(hypervisor.cgroups === 'libvirt' ? { partition: `/${hypervisor.cgroupParent}/${runId(entry)}` } : {}),
    ...(image.domain === undefined ? {} : { fragment: parseSiteFragment(image.domain) }),
  }
}

function bootOf(boot: Image['boot'], files: VmFiles): DomainBoot {
  if (boot.kind === 'direct') {
    const initrd = boot.initrd === undefined ? {} : { initrd: boot.initrd }
    return { kind: 'direct', kernel: boot.kernel, ...initrd, cmdline: boot.commandLine }
  }
  if (boot.firmware === 'uefi') return { kind: 'firmware', firmware: 'uefi', nvramPath: join(files.folder, 'nvram.fd') }
  return { kind: 'firmware', firmware: 'bios' }
}

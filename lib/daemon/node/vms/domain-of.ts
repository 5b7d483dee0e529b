// The hypervisor's view of one VM, of a job or to become a template, from share, image and configuration. Pure.
import { join } from 'node:path'
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { runId } from '../../../job/run.ts'
import { tapName } from '../../../network/names.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import { domainUuid } from '../../../vm/domain-uuid.ts'
import type { DomainBoot, DomainSpec } from '../../../vm/domain-xml.ts'
import { parseSiteFragment } from '../../../vm/site-fragment.ts'
import { templateName, templateTapName } from '../../../vm/template-name.ts'
import type { JournalEntry } from '../runs/journal.ts'

export interface VmFiles {
  readonly folder: string
  readonly overlay: string
  readonly agentSocket: string
  readonly console: string
  /** Who connects to it has the serial console, both ways. */
  readonly consoleSocket: string
}

/** A template's files in the folder of the run whose VMs are cloned from it. */
export interface CloneSource {
  readonly key: string
  readonly ram: string
  readonly state: string
  readonly disk: string
}

/** Where a VM's files are, below its run's folder. */
export function vmFiles(runFolder: string, index: number): VmFiles {
  return vmFilesIn(join(runFolder, `v${index}`))
}

export function vmFilesIn(folder: string): VmFiles {
  return {
    folder,
    overlay: join(folder, 'overlay.qcow2'),
    agentSocket: join(folder, 'agent.sock'),
    console: join(folder, 'console.log'),
    consoleSocket: join(folder, 'console.sock'),
  }
}

/** What VMs of an image and size have in common on a node. */
export interface Machine {
  readonly image: Image
  readonly config: DaemonConfig
  readonly accelerator: 'kvm' | 'qemu'
  readonly qemuGid: number
}

export function domainOf(
  machine: Machine & {
    entry: JournalEntry
    share: Share
    /** The VM's place among those of this node, counted from 0. */
    position: number
    runFolder: string
    /** Absent: it boots. */
    source?: CloneSource | undefined
  },
): DomainSpec {
  const { entry, share, position, image, config, source } = machine
  const vm = share.vms[position]
  if (vm === undefined) throw new RangeError(`no VM ${position}`)
  const files = vmFiles(machine.runFolder, vm.index)
  const master = { path: image.master.path, format: image.master.format }
  return {
    ...hardwareOf(machine, { size: vm, files, partition: runId(entry) }),
    name: vm.name,
    uuid: domainUuid({ cluster: config.cluster.name, vm: vm.name }),
    title: `${vm.hostname}: job ${entry.job} of ${entry.user}, image ${image.name}`,
    metadata: {
      run: runId(entry),
      user: entry.user,
      image: `${image.name}@${image.revision}`,
      index: vm.index,
      cluster: config.cluster.name,
    },
    ...(source === undefined
      ? { overlay: { path: files.overlay, backingPath: master.path, backingFormat: master.format } }
      : {
          overlay: { path: files.overlay, backingPath: source.disk, backingFormat: 'qcow2', base: master },
          memory: { kind: 'clone', path: source.ram },
        }),
    nic: { mac: vm.mac, tap: tapName(share.vni, position), mtu: image.network.mtu },
    owner: { uid: entry.qemuUid, gid: machine.qemuGid },
  }
}

/** A VM that becomes a template: it belongs to no run and no user, and its network card leads nowhere. */
export function templateDomainOf(
  machine: Machine & {
    key: string
    size: { vcpus: number; memoryMib: number }
    files: { folder: string; ram: string; disk: string }
    uid: number
  },
): DomainSpec {
  const { image, config, key, size, files, uid } = machine
  const name = templateName(key)
  return {
    ...hardwareOf(machine, { size, files: vmFilesIn(files.folder), partition: name }),
    name,
    uuid: domainUuid({ cluster: config.cluster.name, vm: name }),
    title: `template of image ${image.name}`,
    metadata: {
      run: name,
      user: 'root',
      image: `${image.name}@${image.revision}`,
      index: 0,
      cluster: config.cluster.name,
    },
    overlay: { path: files.disk, backingPath: image.master.path, backingFormat: image.master.format },
    memory: { kind: 'template', path: files.ram },
    nic: { mac: `${config.network.macPrefix}:ff:ff:ff`, tap: templateTapName(name), mtu: image.network.mtu },
    owner: { uid, gid: machine.qemuGid },
  }
}

function hardwareOf(
  { image, config, accelerator }: Machine,
  vm: { size: { vcpus: number; memoryMib: number }; files: VmFiles; partition: string },
) {
  const { hypervisor } = config
  const { files, size } = vm
  return {
    accelerator,
    vcpus: size.vcpus,
    memoryMib: size.memoryMib,
    boot: bootOf(image.boot, files),
    ...(image.os.agent === 'seed' ? { seedPath: config.paths.seed } : {}),
    consolePath: files.console,
    consoleSocketPath: files.consoleSocket,
    agentSocketPath: files.agentSocket,
    tcgCacheMib: hypervisor.tcgCacheMib,
    ...(hypervisor.cgroups === 'libvirt' ? { partition: `/${hypervisor.cgroupParent}/${vm.partition}` } : {}),
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

// A VM as libvirt's domain XML. Pure. Every value is data: nothing that comes in can become an element or an attribute.
import assert from 'node:assert/strict'
import type { DiskFormat } from '../image/qcow2.ts'
import { type DomainMemory, renderQemuArguments } from './domain-memory.ts'
import { type DomainMetadata, renderMetadata } from './domain-metadata.ts'
import { emptyFragment, type SiteFragment } from './site-fragment.ts'
import { escapeXml, isXmlText } from './xml-text.ts'

export type DomainBoot =
  | { readonly kind: 'direct'; readonly kernel: string; readonly initrd?: string; readonly cmdline: string }
  | { readonly kind: 'firmware'; readonly firmware: 'bios' }
  /** The variable store is the VM's own file; libvirt fills it from its template when it is missing. */
  | { readonly kind: 'firmware'; readonly firmware: 'uefi'; readonly nvramPath: string }

export interface DomainSpec {
  /** `j123r0v0`. */
  readonly name: string
  readonly uuid: string
  /** For people. */
  readonly title: string
  readonly metadata: DomainMetadata
  readonly accelerator: 'kvm' | 'qemu'
  readonly vcpus: number
  readonly memoryMib: number
  /** The file that its memory is in; QEMU's own memory when absent. */
  readonly memory?: DomainMemory
  /** Host CPUs that all of its threads may run on; all when absent. */
  readonly cpus?: readonly number[]
  readonly boot: DomainBoot
  /** A clone's overlay lies on its template's disk, and that on `base`, the master. */
  readonly overlay: {
    readonly path: string
    readonly backingPath: string
    readonly backingFormat: DiskFormat
    readonly base?: { readonly path: string; readonly format: DiskFormat }
  }
  /** A NoCloud ISO, read only. */
  readonly seedPath?: string
  /** A template has one too, so that its devices are its clones': its tap stays down and is no bridge's port. */
  readonly nic: { readonly mac: string; readonly tap: string; readonly mtu: number }
  /** Appended to, so that it can be cut while QEMU has it open (console.ts). */
  readonly consolePath: string
  /** Whoever connects here has the console itself, one at a time. */
  readonly consoleSocketPath: string
  readonly agentSocketPath: string
  /** Who QEMU runs as. */
  readonly owner: { readonly uid: number; readonly gid: number }
  /** Cache of translated code, TCG only; without a limit it is 1 GiB. */
  readonly tcgCacheMib: number
  /** A cgroup that libvirt is to make; only where it may. */
  readonly partition?: string
  readonly fragment?: SiteFragment
}

/** The port of the guest protocol. */
export const agentPort = 'org.vmrm.agent.0'

/** Asserts what our own parsers see to: sizes, and paths that XML can hold. */
export function renderDomainXml(spec: DomainSpec): string {
  assertSpec(spec)
  const { fragment = emptyFragment } = spec
  const element = (name: string, own: string) => fragment.elements.get(name) ?? own
  const own = ['cpu', 'clock', 'qemu:commandline', 'qemu:capabilities']
  const others = [...fragment.elements].filter(([name]) => !own.includes(name)).map(([, text]) => text)
  others.push(renderQemuArguments(spec, fragment.elements.get('qemu:commandline')))
  others.push(renderCapabilities(fragment.elements.get('qemu:capabilities')))
  return `<domain type="${spec.accelerator}" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
<name>${escapeXml(spec.name)}</name>
<uuid>${escapeXml(spec.uuid)}</uuid>
<title>${escapeXml(spec.title.replace(/[\r\n]+/g, ' '))}</title>
<genid/>
<metadata>${renderMetadata(spec.metadata)}</metadata>
<memory unit="MiB">${spec.memoryMib}</memory>
<vcpu placement="static"${spec.cpus === undefined ? '' : ` cpuset="${spec.cpus.join(',')}"`}>${spec.vcpus}</vcpu>
${spec.partition === undefined ? '' : `<resource><partition>${escapeXml(spec.partition)}</partition></resource>\n`}${renderBoot(spec.boot)}
<features><acpi/><apic/>${spec.accelerator === 'qemu' ? `<tcg><tb-cache unit="MiB">${spec.tcgCacheMib}</tb-cache></tcg>` : ''}</features>
${element('cpu', renderCpu(spec.accelerator))}
${element('clock', '<clock offset="utc"><timer name="rtc" tickpolicy="catchup"/><timer name="pit" tickpolicy="delay"/><timer name="hpet" present="no"/></clock>')}
<on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
${renderDevices(spec, fragment)}
<seclabel type="static" model="dac" relabel="no"><label>+${spec.owner.uid}:+${spec.owner.gid}</label></seclabel>
${others.join('\n')}
</domain>
`
}

function renderBoot(boot: DomainBoot): string {
  const type = '<type arch="x86_64" machine="q35">hvm</type>'
  if (boot.kind === 'direct') {
    const initrd = boot.initrd === undefined ? '' : `<initrd>${escapeXml(boot.initrd)}</initrd>`
    return `<os>${type}<kernel>${escapeXml(boot.kernel)}</kernel>${initrd}<cmdline>${escapeXml(boot.cmdline)}</cmdline></os>`
  }
  if (boot.firmware === 'bios') return `<os>${type}<boot dev="hd"/></os>`
  const firmware = '<firmware><feature enabled="no" name="secure-boot"/></firmware>'
  return `<os firmware="efi">${type}${firmware}<nvram>${escapeXml(boot.nvramPath)}</nvram><boot dev="hd"/></os>`
}

/** All that the host has; la57 would make each TCG page walk a level longer and no guest of ours needs it. */
function renderCpu(accelerator: 'kvm' | 'qemu'): string {
  if (accelerator === 'kvm') return '<cpu mode="host-passthrough" check="none" migratable="on"/>'
  return '<cpu mode="maximum" check="none" migratable="on"><feature policy="disable" name="la57"/></cpu>'
}

/**
 * With that capability libvirt 9.0 asks each new QEMU for every CPU feature it knows, one by one: some 400 commands, four
 * fifths of what a start costs under TCG. Without it libvirt asks for the CPUID words at once. What the guest sees is the same.
 */
function renderCapabilities(ofSite: string | undefined): string {
  const own = '<qemu:del capability="cpu-unavailable-features"/>'
  if (ofSite === undefined) return `<qemu:capabilities>${own}</qemu:capabilities>`
  return ofSite.replace('<qemu:capabilities>', `<qemu:capabilities>${own}`)
}

/**
 * A place on the root bus. Left to itself libvirt puts each device behind a PCIe port and adds empty ones, and under TCG a
 * guest takes 0.1 s longer for each to start. Devices that a site adds get their places from libvirt.
 */
function onRootBus(slot: number): string {
  return `<address type="pci" domain="0x0000" bus="0x00" slot="0x${slot.toString(16).padStart(2, '0')}" function="0x0"/>`
}

const slots = { ports: 2, disk: 3, seed: 4, nic: 5, rng: 6 } as const

function renderDevices(spec: DomainSpec, fragment: SiteFragment): string {
  const { nic } = spec
  const seed =
    spec.seedPath === undefined
      ? ''
      : `<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${escapeXml(spec.seedPath)}"/><backingStore/><target dev="vdb" bus="virtio"/><readonly/>${onRootBus(slots.seed)}</disk>\n`
  // cache="unsafe": the overlay ends with its run, so no crash of the host finds it again and a guest's flushes buy nothing.
  return `<devices>
<controller type="usb" model="none"/>
<controller type="virtio-serial" index="0">${onRootBus(slots.ports)}</controller>
<disk type="file" device="disk"><driver name="qemu" type="qcow2" cache="unsafe" discard="unmap"/><source file="${escapeXml(spec.overlay.path)}"/>${renderChain(spec.overlay)}<target dev="vda" bus="virtio"/>${onRootBus(slots.disk)}</disk>
${seed}<interface type="ethernet"><mac address="${escapeXml(nic.mac)}"/><target dev="${escapeXml(nic.tap)}" managed="no"/><model type="virtio"/><mtu size="${nic.mtu}"/><rom enabled="no"/>${onRootBus(slots.nic)}</interface>
<serial type="unix"><source mode="bind" path="${escapeXml(spec.consoleSocketPath)}"/><log file="${escapeXml(spec.consolePath)}" append="on"/><target type="isa-serial" port="0"/></serial>
<channel type="unix"><source mode="bind" path="${escapeXml(spec.agentSocketPath)}"/><target type="virtio" name="${agentPort}"/></channel>
<rng model="virtio"><backend model="random">/dev/urandom</backend>${onRootBus(slots.rng)}</rng>
<panic model="isa"/>
<memballoon model="none"/>
${fragment.devices}</devices>`
}

/** To its end: libvirt would have QEMU take a file whose own backing file is not told for a whole disk. */
function renderChain({ backingPath, backingFormat, base }: DomainSpec['overlay']): string {
  const store = (path: string, format: DiskFormat, below: string) =>
    `<backingStore type="file"><format type="${format}"/><source file="${escapeXml(path)}"/>${below}</backingStore>`
  return store(
    backingPath,
    backingFormat,
    base === undefined ? '<backingStore/>' : store(base.path, base.format, '<backingStore/>'),
  )
}

function assertSpec(spec: DomainSpec): void {
  for (const [name, value] of Object.entries({
    vcpus: spec.vcpus,
    memoryMib: spec.memoryMib,
    mtu: spec.nic.mtu,
    tcgCacheMib: spec.tcgCacheMib,
    uid: spec.owner.uid + 1,
    gid: spec.owner.gid + 1,
  })) {
    assert(Number.isSafeInteger(value) && value > 0, `${name} of a domain`)
  }
  for (const cpu of spec.cpus ?? []) assert(Number.isInteger(cpu) && cpu >= 0, `CPU ${cpu}`)
  const { boot, overlay } = spec
  const paths = [
    overlay.path,
    overlay.backingPath,
    overlay.base?.path,
    spec.memory?.path,
    spec.seedPath,
    spec.consolePath,
    spec.consoleSocketPath,
    spec.agentSocketPath,
  ]
  if (boot.kind === 'direct') paths.push(boot.kernel, boot.initrd)
  else if (boot.firmware === 'uefi') paths.push(boot.nvramPath)
  for (const path of paths) {
    assert(path === undefined || (path.startsWith('/') && isXmlText(path)), `path ${path} of a domain`)
  }
}

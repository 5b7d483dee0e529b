// What a plain script does, one VM after the other: qemu-img create, virsh create, wait until the guest answers and has become
// a machine of its own. The XML is an ordinary one, with libvirt's defaults. It owns its domains and their files.
import { randomBytes } from 'node:crypto'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Image } from '../../lib/config/image-schema.ts'
import type { Account } from '../../lib/daemon/account.ts'
import { GuestChannel } from '../../lib/guest/channel/channel.ts'
import { createLog } from '../../lib/log.ts'
import { escapeXml } from '../../lib/vm/xml-text.ts'
import type { Cluster } from '../support/cluster.ts'
import { factsArgv, parseAnswers, problemsOf } from './clone-answers.ts'
import { qemusNamed } from './clone-job.ts'
import { firstOutput } from './hand-run.ts'
import { pssMb } from './process-cost.ts'

const boundMs = 120_000

export interface PlainScript {
  readonly cluster: Cluster
  readonly node: string
  readonly image: Image
  readonly account: Account
  readonly memoryMib: number
  readonly signal: AbortSignal
}

export interface ScriptRun {
  /** Of each VM, from qemu-img to its answer. */
  readonly eachMs: readonly number[]
  /** Of all of them. */
  readonly pssMb: number
}

const prefix = 'script-'

/** N VMs that all stay until the last has answered. */
export async function runPlainScript(script: PlainScript, n: number): Promise<ScriptRun> {
  const folder = join(script.cluster.layout.folder, 'script')
  const names = Array.from({ length: n }, (_, index) => `${prefix}${String(index + 1).padStart(4, '0')}`)
  const channels: GuestChannel[] = []
  mkdirSync(folder, { recursive: true })
  try {
    const eachMs: number[] = []
    for (const [index, name] of names.entries()) {
      const beganMs = performance.now()
      channels.push(await oneMore(script, { folder, name, index }))
      eachMs.push(performance.now() - beganMs)
    }
    return { eachMs, pssMb: pssMb(qemusNamed(prefix)) }
  } finally {
    for (const channel of channels) channel.close()
    for (const name of names) await script.cluster.run(['virsh', '-q', 'destroy', name], { node: script.node })
    rmSync(folder, { recursive: true, force: true })
  }
}

async function oneMore(
  script: PlainScript,
  { folder, name, index }: { readonly folder: string; readonly name: string; readonly index: number },
): Promise<GuestChannel> {
  const { image, account, cluster, node } = script
  const files = { overlay: join(folder, `${name}.qcow2`), port: join(folder, `${name}.sock`) }
  const mac = `52:54:00:00:ac:${index.toString(16).padStart(2, '0')}`
  const xml = join(folder, `${name}.xml`)
  const { path, format } = image.master
  const must = async (...argv: string[]) => {
    const { exitCode, stderr } = await cluster.run(argv, { node })
    if (exitCode !== 0) throw new Error(`${argv.join(' ')} failed:\n${stderr}`)
  }
  await must('qemu-img', 'create', '-q', '-f', 'qcow2', '-F', format, '-b', path, files.overlay)
  writeFileSync(xml, domainXml(script, { name, mac, ...files }))
  await must('virsh', '-q', 'create', xml)
  const signal = AbortSignal.any([script.signal, AbortSignal.timeout(boundMs)])
  const log = createLog({ level: 'error', write: (line: string) => void process.stderr.write(line) })
  const channel = new GuestChannel({ path: files.port, vm: name, log })
  try {
    await channel.open(signal)
    const address = `10.0.2.${15 + index}`
    await channel.identify(
      {
        ...{ run: 'j1r0', hostname: name, node, user: account, groups: account.groups, mounts: [], commands: [] },
        hosts: { addresses: address, hostnames: name, nodes: node, vms: '1' },
        nics: [{ mac, address: `${address}/24`, mtu: 1500 }],
        timeNs: BigInt(Date.now()) * 1_000_000n,
        entropy: randomBytes(64),
      },
      signal,
    )
    const answers = parseAnswers((await firstOutput(channel, { argv: factsArgv, home: '/', signal })).toString('utf8'))
    const machineId = answers[0]?.machineId ?? ''
    const problems = problemsOf(answers, [{ hostname: name, address, mac, machineId }])
    if (problems.length > 0) throw new Error(`VM ${name} of the script: ${problems.join('; ')}`)
    return channel
  } catch (error) {
    channel.close()
    throw error
  }
}

function domainXml(
  { image, memoryMib }: PlainScript,
  { name, mac, overlay, port }: Readonly<Record<'name' | 'mac' | 'overlay' | 'port', string>>,
): string {
  const { boot } = image
  if (boot.kind !== 'direct') throw new RangeError(`${image.name} has no kernel to boot directly`)
  const initrd = boot.initrd === undefined ? '' : `<initrd>${escapeXml(boot.initrd)}</initrd>`
  return `<domain type="qemu">
<name>${name}</name>
<memory unit="MiB">${memoryMib}</memory>
<vcpu>1</vcpu>
<os><type arch="x86_64" machine="q35">hvm</type><kernel>${escapeXml(boot.kernel)}</kernel>${initrd}<cmdline>${escapeXml(boot.commandLine)}</cmdline></os>
<features><acpi/><apic/></features>
<devices>
<disk type="file" device="disk"><driver name="qemu" type="qcow2"/><source file="${escapeXml(overlay)}"/><target dev="vda" bus="virtio"/></disk>
<interface type="user"><mac address="${mac}"/><model type="virtio"/></interface>
<channel type="unix"><source mode="bind" path="${escapeXml(port)}"/><target type="virtio" name="org.vmrm.agent.0"/></channel>
<rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
<serial type="pty"/>
</devices>
</domain>
`
}

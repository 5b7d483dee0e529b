import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { XMLParser } from 'fast-xml-parser'
import t from 'tap'
import { whatForbidsCloning } from '../../lib/vm/clonable.ts'
import { parseVmrmMetadata } from '../../lib/vm/domain-metadata.ts'
import { domainUuid } from '../../lib/vm/domain-uuid.ts'
import { type DomainSpec, renderDomainXml } from '../../lib/vm/domain-xml.ts'
import { movedDomainXml } from '../../lib/vm/moved-domain.ts'
import { parseSiteFragment } from '../../lib/vm/site-fragment.ts'
import { escapeXml } from '../../lib/vm/xml-text.ts'

const spec: DomainSpec = {
  name: 'j123r0v0',
  uuid: domainUuid({ cluster: 'test', vm: 'j123r0v0' }),
  title: 'job 123 of alice',
  metadata: { run: 'j123r0', user: 'alice', image: 'tiny@1', index: 0, cluster: 'test' },
  accelerator: 'qemu',
  vcpus: 2,
  memoryMib: 256,
  boot: { kind: 'direct', kernel: '/images/vmlinuz', initrd: '/images/initrd', cmdline: 'console=ttyS0 quiet' },
  overlay: { path: '/runs/j123r0/v0/overlay.qcow2', backingPath: '/images/tiny.qcow2', backingFormat: 'qcow2' },
  nic: { mac: '52:54:76:00:00:01', tap: 'vt00a1b2-0', mtu: 1450 },
  consolePath: '/runs/j123r0/v0/console.log',
  consoleSocketPath: '/runs/j123r0/v0/console.sock',
  agentSocketPath: '/runs/j123r0/v0/agent.sock',
  owner: { uid: 600_001, gid: 108 },
  tcgCacheMib: 64,
}
const clonedOverlay: DomainSpec['overlay'] = {
  ...spec.overlay,
  backingPath: '/runs/j123r0/disk',
  base: { path: '/images/tiny.raw', format: 'raw' },
}
const hostile = `a'"<b attr="x">&amp;]]></name><name>$(reboot);\n\t\r\0\x1b[2J\ud800é𝄞`
const folder = mkdtempSync(join(tmpdir(), 'vmrm-domain-'))
t.teardown(() => rmSync(folder, { recursive: true }))
/** Throws what the schema's validator says. */
function validate(xml: string): void {
  const path = join(folder, 'domain.xml')
  writeFileSync(path, xml)
  execFileSync('/usr/bin/virt-xml-validate', [path, 'domain'], { stdio: 'pipe', timeout: 20_000 })
}
/** What XML cannot hold. */
const unholdable = ['\0', '\x1b', '\ud800']
const replaceUnholdable = (text: string, by: string) => unholdable.reduce((rest, one) => rest.replaceAll(one, by), text)

const fragment =
  parseSiteFragment(`<?xml version="1.0"?><domain xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
  <!-- a GPU --> <cpu mode="custom" match="exact"><model>EPYC</model></cpu>
  <devices><hostdev mode="subsystem" type="pci" managed="yes"><source><address domain="0" bus="0x41" slot="0" function="0"/></source></hostdev>
  <watchdog model="i6300esb" action="none"/></devices>
  <qemu:capabilities><qemu:add capability="kvm"/></qemu:capabilities>
  <qemu:commandline><qemu:arg value="-msg"/><qemu:env name="A" value="a &lt; &quot;b"/></qemu:commandline></domain>`)

for (const [what, changes] of [
  ['boots a kernel under TCG', {}],
  ['runs under KVM', { accelerator: 'kvm' }],
  ['boots its disk with a BIOS', { boot: { kind: 'firmware', firmware: 'bios' } }],
  ['boots its disk with UEFI', { boot: { kind: 'firmware', firmware: 'uefi', nvramPath: '/runs/j123r0/v0/nvram' } }],
  ['has a seed', { seedPath: '/runs/j123r0/v0/seed.iso' }],
  ['is bound to CPUs', { cpus: [0, 2, 3] }],
  ['lives in a partition', { partition: '/machine/vmrm' }],
  ['has a raw master', { overlay: { ...spec.overlay, backingFormat: 'raw' } }],
  ['has what a site adds', { fragment }],
  ['is to be a template', { memory: { kind: 'template', path: '/templates/ram' } }],
  ['is a clone', { memory: { kind: 'clone', path: '/runs/j123r0/ram' }, fragment, overlay: clonedOverlay }],
] as const) {
  t.test(`The XML of a domain that ${what} follows libvirt's schema`, async (t) => {
    const xml = renderDomainXml({ ...spec, ...(changes as Partial<DomainSpec>) })
    t.doesNotThrow(() => validate(xml))
    t.throws(() => validate(xml.replace('</memory>', '</memory><nonsense/>')))
    t.same(parseVmrmMetadata(xml), spec.metadata)
  })
}

t.test('Hostile names are data: they change no element and come back as they were', async (t) => {
  const shape = (xml: string) => xml.replace(/>[^<]*</g, '><').replace(/"[^"]*"/g, '""')
  const metadata = { ...spec.metadata, user: hostile, image: hostile, cluster: hostile }
  const path = `/runs/${replaceUnholdable(hostile, '')}`
  const named = {
    ...spec,
    title: hostile,
    metadata,
    consolePath: path,
    boot: { ...spec.boot, cmdline: hostile } as const,
  }
  const xml = renderDomainXml(named)
  t.equal(shape(xml), shape(renderDomainXml(spec)))
  t.doesNotThrow(() => validate(renderDomainXml({ ...named, consolePath: spec.consolePath })))
  const clean = replaceUnholdable(hostile, '\ufffd')
  t.same(parseVmrmMetadata(xml), { ...metadata, user: clean, image: clean, cluster: clean })
  const parser = new XMLParser({ ignoreAttributes: false, trimValues: false, htmlEntities: true })
  const { domain } = parser.parse(xml)
  t.equal(domain.devices.serial.log['@_file'], path)
  t.equal(domain.os.cmdline, clean)
})

t.test('A path that XML cannot hold is a mistake of ours, not another path', async (t) => {
  for (const consolePath of ['/a\0b', '/a\x1bb', '/a\ud800', 'relative', '']) {
    t.throws(() => renderDomainXml({ ...spec, consolePath }), { code: 'ERR_ASSERTION' })
  }
})

for (const [what, xml] of [
  ['no XML', 'not xml'],
  ['a domain without metadata', '<domain><name>x</name></domain>'],
  ['metadata of others', '<domain><metadata><vmrm:vm xmlns:vmrm="urn:other" run="j1r0"/></metadata></domain>'],
  [
    'ours in the wrong place',
    `<domain><vmrm:vm xmlns:vmrm="urn:vmrm:domain:1" run="j1r0" user="a" image="b" index="0" cluster="c"/></domain>`,
  ],
  [
    'ours without an index',
    '<domain><metadata><vmrm:vm xmlns:vmrm="urn:vmrm:domain:1" run="j1r0" user="a" image="b" cluster="c"/></metadata></domain>',
  ],
  [
    'a bad index',
    '<domain><metadata><vmrm:vm xmlns:vmrm="urn:vmrm:domain:1" run="j1r0" user="a" image="b" index="1e3" cluster="c"/></metadata></domain>',
  ],
] as const) {
  t.test(`A domain with ${what} is not of vmrm`, async (t) => t.equal(parseVmrmMetadata(xml), undefined))
}

t.test('Our metadata is found under any prefix and beside that of others', async (t) => {
  const xml = `<domain><metadata><a:b xmlns:a="urn:a"/><z:vm xmlns:z="urn:vmrm:domain:1" run="j1r0" user="1.0" image="tiny" index="7" cluster="true"/></metadata></domain>`
  t.same(parseVmrmMetadata(xml), { run: 'j1r0', user: '1.0', image: 'tiny', index: 7, cluster: 'true' })
})

t.test('A fragment replaces what it may and adds to the devices', async (t) => {
  const xml = renderDomainXml({ ...spec, fragment })
  t.match(xml, /<model>EPYC<\/model>/)
  t.notMatch(xml, /maximum/)
  t.match(xml, /<qemu:env name="A" value="a &lt; &quot;b"/)
  t.match(xml, /watchdog/)
})

for (const [what, xml] of [
  ['sets the name', '<domain><name>other</name></domain>'],
  ['sets the UUID', '<domain><uuid>x</uuid></domain>'],
  ['sets the memory', '<domain><memory>1</memory></domain>'],
  ['sets the security label', '<domain><seclabel type="none"/></domain>'],
  ['sets the metadata', '<domain><metadata/></domain>'],
  ['sets the type', '<domain type="xen"/>'],
  ['has a disk', '<domain><devices><disk type="block"/></devices></domain>'],
  ['has a NIC', '<domain><devices><interface type="bridge"/></devices></domain>'],
  ['has a channel', '<domain><devices><channel type="unix"/></devices></domain>'],
  ['has an element twice', '<domain><cpu/><cpu/></domain>'],
  ['is no domain', '<devices/>'],
  ['is two', '<domain/><domain/>'],
  ['is not well-formed', '<domain><cpu></domain>'],
  ['has a DTD', '<!DOCTYPE domain [<!ENTITY a "b">]><domain/>'],
  ['has CDATA', '<domain><cpu><![CDATA[x]]></cpu></domain>'],
  ['has text between elements', '<domain>text<cpu/></domain>'],
  ['is empty', ''],
] as const) {
  t.test(`A fragment that ${what} is refused`, async (t) => {
    t.throws(() => parseSiteFragment(xml), { code: 'config-invalid' })
  })
}

t.test('A UUID is that of its name and cluster, every time', async (t) => {
  const uuid = domainUuid({ cluster: 'a', vm: 'j1r0v0' })
  t.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  t.equal(domainUuid({ cluster: 'a', vm: 'j1r0v0' }), uuid)
  t.not(domainUuid({ cluster: 'b', vm: 'j1r0v0' }), uuid)
  t.not(domainUuid({ cluster: 'a', vm: 'j1r0v1' }), uuid)
})

t.test('Text is escaped for elements and for both kinds of quotes', async (t) => {
  t.equal(escapeXml(`<&>"'\n\0`), '&lt;&amp;&gt;&quot;&apos;&#10;\ufffd')
})

t.test('A clone has what a site adds too, and differs from its template in nothing that the state names', async (t) => {
  const memory = { kind: 'clone', path: '/runs/a "b"/ram' } as const
  const clone = renderDomainXml({ ...spec, fragment, memory })
  const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: '', processEntities: true })
  const args = parser.parse(clone).domain['qemu:commandline']['qemu:arg'].map((arg: { value: string }) => arg.value)
  t.match(JSON.parse(args[1]), { 'mem-path': memory.path, share: false, size: spec.memoryMib * 1024 * 1024 })
  t.same(args.slice(4), ['-incoming', 'defer', '-msg'])
  const template = renderDomainXml({ ...spec, fragment, memory: { ...memory, kind: 'template' } })
  const sameButMemory = template.replace('share&quot;:true', 'share&quot;:false')
  t.equal(sameButMemory, clone.replace('<qemu:arg value="-incoming"/><qemu:arg value="defer"/>', ''))
})

t.test(
  'Elsewhere a clone has memory of its own, other files where they are called otherwise, and the same devices',
  async (t) => {
    const clone = renderDomainXml({
      ...spec,
      fragment,
      memory: { kind: 'clone', path: '/runs/ram' },
      overlay: clonedOverlay,
    })
    const moved = movedDomainXml(
      clone,
      new Map([
        [spec.overlay.path, '/other/"disk"'],
        [spec.nic.tap, 'vt00a1b2-7'],
      ]),
    )
    validate(moved)
    t.notMatch(moved, /incoming|\/runs\/ram|mem-path/)
    t.match(moved, /memory-backend=vmrm\.ram/)
    t.match(moved, /<source file="\/other\/&quot;disk&quot;"/)
    t.match(moved, /<target dev="vt00a1b2-7"/)
    t.match(moved, /value="-msg"/)
    const plain = renderDomainXml({ ...spec, title: 'a &lt; b\n', fragment })
    const flat = (xml: string) => xml.replace(/ (?=\/>)|\n/g, '')
    t.equal(flat(movedDomainXml(plain)), flat(plain), 'a VM that is no clone stays as it is')
  },
)

for (const [child, forbids] of [
  ['<memoryBacking><hugepages/></memoryBacking>', '<memoryBacking>'],
  ['<cpu mode="maximum"><numa><cell id="0" cpus="0" memory="64" unit="MiB"/></numa></cpu>', '<numa>'],
  ['<devices><watchdog model="i6300esb"/><tpm model="tpm-crb"/></devices>', '<tpm>'],
  ['<cpu mode="maximum"/><devices><watchdog model="i6300esb"/></devices>', undefined],
] as const) {
  t.test(`VMs with ${child} ${forbids === undefined ? 'can' : 'cannot'} be cloned`, async (t) => {
    t.equal(whatForbidsCloning(parseSiteFragment(`<domain>${child}</domain>`)), forbids)
  })
}

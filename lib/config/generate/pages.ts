// The pages made from the configuration's schemas: docs/reference/configuration.md, vmrmd.xml(5) and images.d(5). Pure.
import { daemonConfigSchema } from '../daemon-schema.ts'
import { imageSchema } from '../image-schema.ts'
import { daemonDescriptions } from './daemon-descriptions.ts'
import { imageDescriptions } from './image-descriptions.ts'
import { type ManPage, renderManPage } from './man.ts'
import { type DescribedSetting, type Setting, settingsOf } from './settings.ts'

/** The fragment is no attribute: everything inside the element is libvirt's. */
function imageSettings(): readonly Setting[] {
  return settingsOf(imageSchema).map((setting) =>
    setting.path === '@domain' ? { ...setting, path: 'domain', kind: 'element', value: '' } : setting,
  )
}

/** Throws where a setting has no description: whoever adds one says what it is for. */
function described(settings: readonly Setting[], descriptions: Readonly<Record<string, string>>): DescribedSetting[] {
  return settings.map((setting) => {
    const description = descriptions[setting.path]
    if (description === undefined) throw new Error(`${setting.path} has no description`)
    return { ...setting, description }
  })
}

export const daemonSettings = described(settingsOf(daemonConfigSchema), daemonDescriptions)
export const catalogueSettings = described(imageSettings(), imageDescriptions)

const presenceText = { required: 'required', optional: '', 'any number': 'any number' } as const

function table(settings: readonly DescribedSetting[]): string {
  const rows = settings.map(({ path, value, presence, standard, description }) => {
    const fallback = standard === undefined ? presenceText[presence] : `\`${standard}\``
    return `| \`${path}\` | ${value.replaceAll('|', '\\|')} | ${fallback} | ${description.replaceAll('<', '&lt;')} |`
  })
  return ['| where | value | default | what |', '|---|---|---|---|', ...rows].join('\n')
}

export function configurationPage(): string {
  return `# Configuration

Made by \`lib/config/generate/main.ts\` from the schemas in \`lib/config\`; do not edit. The same is in vmrmd.xml(5) and images.d(5).

Both are XML: \`a/@b\` is the attribute \`b\` of the element \`a\` below the root element. Comments are allowed; a DTD, entities other than XML's five, and names that are not listed here are errors, which name the file, the line and the nearest right name. \`vmrm doctor\` and \`vmrm image check\` say what is wrong.

## /etc/vmrm/vmrmd.xml

The root element is \`vmrmd\`. The same file can be on all hosts. Daemons read it when they start, hooks and the command line each time.

${table(daemonSettings)}

## /etc/vmrm/images.d/NAME.xml

The root element is \`image\`. The catalogue is the same on the controller and on all nodes; a change takes effect with the next job.

${table(catalogueSettings)}
`
}

const vmrmdPage: ManPage = {
  name: 'vmrmd.xml',
  section: 5,
  summary: 'configuration of vmrm on one host',
  synopsis: '/etc/vmrm/vmrmd.xml',
  description: [
    'The settings of vmrmd(8), of the hooks that Slurm runs, and of vmrm(1). The root element is vmrmd. The same file can be on all hosts: the controller and the nodes each read what concerns them. The daemons read it when they start, hooks and the command line each time.',
    'Below, a/@b is the attribute b of the element a. Names that are not listed are errors, which name the file, the line and the nearest right name. Comments are allowed; a DTD and entities other than the five of XML are not.',
  ],
  settings: daemonSettings,
  example: `<vmrmd version="1">
  <cluster name="physics"/>
  <controller host="head1" address="10.1.0.1"/>
  <node underlay-device="eth1"/>
  <network underlay="10.1.0.0/16"/>
  <nfs server="ganesha"/>
  <defaults>
    <partition name="vm" image="debian12" opt-out="true"/>
  </defaults>
</vmrmd>`,
  seeAlso: ['vmrm(1)', 'vmrmd(8)', 'images.d(5)', 'slurm.conf(5)'],
}

const imagesPage: ManPage = {
  name: 'images.d',
  section: 5,
  summary: 'the catalogue of images of vmrm',
  synopsis: '/etc/vmrm/images.d/NAME.xml',
  description: [
    'Each file describes one image that jobs can name with --vm-image. The root element is image. The catalogue is the same on the controller and on all nodes; a change takes effect with the next job. A file that is wrong is left out, and the log of vmrmd says why.',
    'Below, a/@b is the attribute b of the element a. vmrm image check tells everything that is wrong with an entry and its files.',
  ],
  settings: catalogueSettings,
  example: `<image version="1" name="debian12" revision="2026-01" title="Debian 12">
  <os family="linux" agent="seed"/>
  <master path="/srv/vm/debian12.qcow2" format="qcow2"/>
  <boot kind="firmware" timeout-seconds="120"/>
  <hostnames range="deb-[0001-9999]"/>
  <network kind="private" addresses="10.77.0.0/16"/>
  <access policy="listed"><user name="alice"/><group name="proj"/></access>
  <limits min-memory-mib="256" max-memory-mib="65536" max-cpus="16"/>
  <mounts><mount kind="export" path="/home" target="/home"/></mounts>
  <domain><cpu mode="host-passthrough"/></domain>
</image>`,
  seeAlso: ['vmrm(1)', 'vmrmd.xml(5)'],
}

/** Manual pages by file name. */
export const manPages: ReadonlyMap<string, string> = new Map([
  ['vmrmd.xml.5', renderManPage(vmrmdPage)],
  ['images.d.5', renderManPage(imagesPage)],
])

export const examples = { vmrmd: vmrmdPage.example, debian12: imagesPage.example } as const

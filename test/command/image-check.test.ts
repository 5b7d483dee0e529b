// `vmrm image check`: everything wrong at once, on real files.
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { entriesOf, staticProblems } from '../../lib/command/image/check.ts'
import { sha256OfFile } from '../../lib/command/image/checksum.ts'
import { type DaemonConfig, daemonConfigSchema } from '../../lib/config/daemon-schema.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'

const config: DaemonConfig = daemonConfigSchema.parse({
  version: '1',
  cluster: { name: 'c' },
  controller: { host: 'ctl' },
  hypervisor: { group: 'root' },
})

interface Site {
  readonly folder: string
  readonly catalogue: string
  entry(name: string, change?: (text: string) => string): void
  problems(name: string): Promise<string[]>
}

/** Below a folder that QEMU's users get through, which tap's own need not be. */
async function site(t: Test, daemonConfig: DaemonConfig = config): Promise<Site> {
  const folder = mkdtempSync('/tmp/vmrm-image-check-')
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  const catalogue = join(folder, 'images.d')
  mkdirSync(catalogue)
  const master = join(folder, 'master.qcow2')
  await execa('/usr/bin/qemu-img', ['create', '-q', '-f', 'qcow2', master, '16M'], { timeout: 20_000 })
  for (const name of ['vmlinuz', 'initrd']) writeFileSync(join(folder, name), 'x', { mode: 0o644 })
  const checksum = await sha256OfFile(master)
  return {
    folder,
    catalogue,
    entry(name, change = (text) => text) {
      const text = `<image version="1" name="${name}" revision="1">
  <os family="linux" agent="builtin"/>
  <master path="${master}" format="qcow2" sha256="${checksum}"/>
  <boot kind="direct" kernel="${folder}/vmlinuz" initrd="${folder}/initrd"/>
  <hostnames range="${name}-[0001-0100]"/>
  <network kind="private" addresses="10.77.0.0/24"/>
  <access policy="all"/>
  <limits min-memory-mib="96" max-memory-mib="4096" max-cpus="8" max-per-node="16"/>
</image>
`
      writeFileSync(join(catalogue, `${name}.xml`), change(text))
    },
    async problems(name) {
      const entries = entriesOf(catalogue)
      const image = entries.find((one) => one.path.endsWith(`/${name}.xml`))?.image
      if (image === undefined || image instanceof VmrmError) throw image ?? new Error(`no ${name}`)
      const paths = { ...daemonConfig.paths, seed: join(folder, 'seed.iso') }
      const found = await staticProblems({ image, catalogue: entries, config: { ...daemonConfig, paths } })
      return found.map(({ severity, text }) => `${severity}: ${text.replaceAll(folder, 'FOLDER')}`)
    },
  }
}

t.test('an entry that is right has no problem', async (t) => {
  const { entry, problems } = await site(t)
  entry('good')
  t.same(await problems('good'), [])
})

const cases: readonly {
  title: string
  change?: (text: string) => string
  files?: (folder: string) => unknown
  says: string[]
}[] = [
  {
    title: 'three things at once',
    change: (text) =>
      text
        .replace('min-memory-mib="96"', 'min-memory-mib="5000"')
        .replace('policy="all"', 'policy="listed"')
        .replace('/initrd"', '/nothing"'),
    says: [
      'error: limits: min-memory-mib 5000 is above max-memory-mib 4096',
      'warning: access: policy is "listed" and nobody is listed: only root may use the image',
      'error: initrd: FOLDER/nothing does not exist',
    ],
  },
  {
    title: "a fragment that takes what is not the site's",
    change: (text) => text.replace('</image>', '<domain><name>x</name></domain></image>'),
    says: ["error: The <domain> fragment of the image cannot be used: <name> is not a site's to set."],
  },
  {
    title: 'a fragment that is fine',
    change: (text) => text.replace('</image>', '<domain><devices><sound model="ich9"/></devices></domain></image>'),
    says: [],
  },
  {
    title: 'fewer hostnames than VMs a node',
    change: (text) => text.replace('-[0001-0100]', '-[1-3]'),
    says: ['warning: limits: max-per-node is 16, but there are only 3 hostnames'],
  },
  {
    title: 'a boot that may take longer than a run',
    change: (text) => text.replace('<boot kind="direct"', '<boot kind="direct" timeout-seconds="300"'),
    says: [
      'warning: boot: timeout-seconds 300 never comes to bear: vmrmd.xml gives a run 240 s (timeouts/@prepare-seconds)',
    ],
  },
  {
    title: 'mounts that clash, where there is no NFS server',
    change: (text) =>
      text.replace(
        '</image>',
        '<mounts><mount kind="export" path="/nowhere" target="/a"/><mount kind="nfs" source="s:/x" target="/a"/></mounts></image>',
      ),
    says: [
      'error: mounts: /a is the target of two mounts',
      'error: mounts: it has exports, but vmrmd.xml has nfs/@server="none"',
      'error: mounts: the folder /nowhere is not on this host',
    ],
  },
  {
    title: 'a kernel in a folder that lets nobody through',
    change: (text) => text.replace('/vmlinuz"', '/closed/vmlinuz"'),
    files: (folder) => {
      mkdirSync(join(folder, 'closed'), { mode: 0o700 })
      writeFileSync(join(folder, 'closed/vmlinuz'), 'x')
    },
    says: [
      "error: kernel: FOLDER/closed/vmlinuz cannot be read by QEMU's users (uid 600000, group root): they do not get through FOLDER/closed",
    ],
  },
  {
    title: 'a master that everybody can write',
    files: (folder) => chmodSync(join(folder, 'master.qcow2'), 0o666),
    says: ['error: master: FOLDER/master.qcow2 may be written by everyone'],
  },
  {
    title: 'a master on another image',
    files: (folder) =>
      execa('/usr/bin/qemu-img', [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-b',
        '/etc/hostname',
        '-F',
        'raw',
        join(folder, 'master.qcow2'),
        '16M',
      ]),
    says: [],
  },
  {
    title: 'a master of another format',
    files: (folder) => writeFileSync(join(folder, 'master.qcow2'), 'not a disk'),
    says: [],
  },
  {
    title: 'a seed that is not there',
    change: (text) => text.replace('agent="builtin"', 'agent="seed"'),
    says: ['error: seed: FOLDER/seed.iso does not exist'],
  },
  {
    title: 'a seed that is none',
    change: (text) => text.replace('agent="builtin"', 'agent="seed"'),
    files: (folder) => writeFileSync(join(folder, 'seed.iso'), 'not a seed'),
    says: [
      'error: seed: The seed FOLDER/seed.iso (paths/@seed) cannot be used: it is no ISO 9660 image with the label cidata.',
    ],
  },
  {
    title: 'a seed that QEMU may not read',
    change: (text) => text.replace('agent="builtin"', 'agent="seed"'),
    files: (folder) => {
      writeFileSync(join(folder, 'seed.iso'), 'secret')
      chmodSync(join(folder, 'seed.iso'), 0o600)
    },
    says: ["error: seed: FOLDER/seed.iso cannot be read by QEMU's users (uid 600000, group root)"],
  },
  {
    title: 'no checksum',
    change: (text) => text.replace(/ sha256="[^"]*"/, ''),
    says: ['warning: master: no sha256 is given, so a change of it goes unseen'],
  },
]

for (const { title, change, files, says } of cases) {
  t.test(title, async (t) => {
    const { folder, entry, problems } = await site(t)
    await files?.(folder)
    entry('odd', change)
    const found = await problems('odd')
    if (/master (on|of)/.test(title))
      t.match(found, [/^error: master: The master FOLDER\/master\.qcow2 \(stated format qcow2\) cannot be used/])
    else t.same(found, says)
  })
}

t.test(
  'images that share a bridge may share neither addresses nor names; private ones may share addresses',
  async (t) => {
    const { entry, problems } = await site(t)
    const bridge = (first: number, last: number) => (text: string) =>
      text.replace(
        /<network [^>]*>/,
        `<network kind="bridge" bridge="br0" addresses="10.1.0.0/24" first="10.1.0.${first}" last="10.1.0.${last}"/>`,
      )
    entry('a', bridge(10, 40))
    entry('b', bridge(40, 60))
    entry('c', bridge(100, 120))
    entry('d', (text) => bridge(130, 160)(text).replace('d-[', 'c-['))
    entry('e')
    entry('f', (text) => text.replace('f-[', 'e-['))
    t.same(await problems('a'), [
      'error: network: image b leases some of the same addresses on bridge br0: two VMs would share one',
    ])
    t.same(await problems('c'), [
      'error: hostnames: image d uses some of the same names on bridge br0: two VMs may have one name',
    ])
    t.same(await problems('e'), ['warning: hostnames: image f uses some of the same names: two VMs may have one name'])
  },
)

t.test('entries that cannot be read are listed with the others, and a missing folder is named', async (t) => {
  const { catalogue, entry } = await site(t)
  entry('good')
  entry('bad', () => '<image/>')
  t.same(
    entriesOf(catalogue).map(({ image }) => (image instanceof VmrmError ? image.code : image.name)),
    ['config-invalid', 'good'],
  )
  t.throws(() => entriesOf(`${catalogue}.none`), { code: 'config-invalid', message: /images\.d\.none cannot be read/ })
})

t.test('a checksum is that of sha256sum, tells how far it is, and can be stopped', async (t) => {
  const { folder } = await site(t)
  const path = join(folder, 'large')
  writeFileSync(path, Buffer.alloc(9 * 1024 * 1024, 7))
  const told: number[] = []
  const { stdout } = await execa('/usr/bin/sha256sum', [path])
  t.equal(await sha256OfFile(path, { onProgress: (percent) => told.push(percent) }), stdout.split(' ')[0])
  t.same(told, [44, 88, 100])
  const reason = new Error('enough')
  await t.rejects(sha256OfFile(path, { signal: AbortSignal.abort(reason) }), reason)
  await t.rejects(sha256OfFile(`${path}.none`), { code: 'ENOENT' })
})

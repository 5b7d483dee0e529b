import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { loadDaemonConfig, loadImage, openCatalogue } from '../../lib/config/load.ts'
import { parseSiteFragment } from '../../lib/vm/site-fragment.ts'

const image = `<?xml version="1.0" encoding="UTF-8"?>
<!-- An entry
     with a comment. --><image version="1" name="tiny" revision="1">
  <os family="linux" agent="builtin"/>
  <master path="/images/tiny.qcow2" format="qcow2"/>
  <boot kind="direct" kernel="/images/vmlinuz" command-line="console=ttyS0"/>
  <hostnames range="tiny-[0001-0100]"/>
  <network kind="private" addresses="10.77.0.0/24"/>
  <access policy="listed"><user name="alice"/><group name="proj"/></access>
  <limits max-memory-mib="4096" max-cpus="8"/>
  <mounts><mount kind="export" path="/home" target="/home"/></mounts>
  <domain><devices><watchdog model="i6300esb"/></devices></domain>
</image>
`

t.test('an entry is read with its defaults and its fragment as it stands', async (t) => {
  const folder = t.testdir({ 'tiny.xml': image })
  const entry = loadImage(join(folder, 'tiny.xml'))
  t.match(entry, {
    name: 'tiny',
    boot: { kind: 'direct', timeoutSeconds: 120 },
    network: { mtu: 1450 },
    limits: { minMemoryMib: 64, maxPerNode: 64 },
    access: { users: [{ name: 'alice' }], groups: [{ name: 'proj' }], accounts: [] },
    domain: '<domain><devices><watchdog model="i6300esb"/></devices></domain>',
  })
  t.match(parseSiteFragment(entry.domain ?? ''), { devices: /watchdog/ }, 'it is what the domain is made with')
  t.ok(Object.isFrozen(entry))
})

t.test('a wrong entry is refused with file, line and what is wrong', async (t) => {
  const cases: [string, string, RegExp][] = [
    ['max-cpus', 'max-cpu', /tiny\.xml, line 10: .*unknown attribute max-cpu; did you mean max-cpus\?/],
    ['kind="private"', 'kind="public"', /line 8: .*network\/kind/],
    ['<hostnames ', '<hostname ', /line 7: .*unknown element hostname; did you mean hostnames\?/],
    ['"4096"', '"lots"', /line 10: .*max-memory-mib.*not an integer/],
    ['format="qcow2"', '', /line 5: .*format/],
    ['10.77.0.0/24', '10.77.0.1/24', /tiny\.xml: .*10\.77\.0\.1\/24/],
    ['tiny-[0001-0100]', 'tiny-[100-1]', /tiny\.xml: .*tiny-\[100-1\]/],
    ['name="tiny"', 'name="other"', /must be called other\.xml/],
    ['</mounts>', '', /tiny\.xml/],
    ['<os family', '<!DOCTYPE x [<!ENTITY a "b">]><os family', /tiny\.xml/],
  ]
  for (const [from, to, says] of cases) {
    const folder = t.testdir({ 'tiny.xml': image.replace(from, to) })
    t.throws(() => loadImage(join(folder, 'tiny.xml')), { code: 'config-invalid', message: says }, `${from} -> ${to}`)
  }
})

t.test('the catalogue leaves a bad entry out, says why, and sees changes', async (t) => {
  const folder = t.testdir({ 'tiny.xml': image, 'bad.xml': '<image/>' })
  const catalogue = openCatalogue(folder)
  t.same([...catalogue.images().keys()], ['tiny'])
  t.equal(catalogue.problems().length, 1)
  writeFileSync(join(folder, 'bad.xml'), image.replaceAll('tiny', 'bad'))
  t.same([...catalogue.images().keys()], ['bad', 'tiny'])
  t.same(catalogue.problems(), [])
})

t.test('vmrmd.xml needs little and knows every default', async (t) => {
  const folder = t.testdir({ 'vmrmd.xml': '<vmrmd version="1"><cluster name="c"/><controller host="ctl"/></vmrmd>' })
  const config = loadDaemonConfig(join(folder, 'vmrmd.xml'))
  t.match(config, {
    controller: { port: 6829, user: 'slurm' },
    hypervisor: { accelerator: 'auto' },
    nfs: { server: 'none' },
  })
  t.throws(() => loadDaemonConfig(join(folder, 'none.xml')), {
    code: 'config-invalid',
    message: /none\.xml cannot be read/,
  })
})

// The table of the rules at submission is Lua that holds what vmrmd.xml and the catalogue say, whatever names they use.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import t from 'tap'
import { jobSubmitTableText } from '../../lib/command/job-submit-table.ts'
import { daemonConfigSchema } from '../../lib/config/daemon-schema.ts'
import { imageSchema } from '../../lib/config/image-schema.ts'

const image = (name: string) =>
  imageSchema.parse({
    version: '1',
    name,
    revision: '1',
    os: { family: 'linux', agent: 'builtin' },
    master: { path: '/m', format: 'raw' },
    boot: { kind: 'firmware' },
    hostnames: { range: 'a-[1-9]' },
    network: { kind: 'private', addresses: '10.0.0.0/24' },
    access: { policy: 'all' },
    limits: { minMemoryMib: 96, maxMemoryMib: 4096, maxCpus: 8 },
  })

const config = (entries: { name: string; image: string; optOut?: boolean }[]) =>
  daemonConfigSchema.parse({
    version: '1',
    cluster: { name: 'c' },
    controller: { host: 'ctl' },
    slurm: { threadsPerCore: 2 },
    hypervisor: { overheadMib: 200 },
    partitions: { entries },
  })

const show = `
local t = dofile(arg[1])
print(t.version, t.threads_per_core)
for _, n in ipairs({'tiny', 'a.b-c_d'}) do
  local i = t.images[n]; print(n, i.max_cpus, i.min_memory_mib, i.max_memory_mib, i.overhead_mib)
end
for _, n in ipairs({'vm', 'end'}) do local p = t.partitions[n]; print(n, p.default_image, p.opt_out) end
`

t.test('Lua reads from it what was configured', async (t) => {
  const partitions = [
    { name: 'vm', image: 'tiny', optOut: true },
    { name: 'end', image: 'a.b-c_d' },
  ]
  const folder = t.testdir({ 'show.lua': show })
  const table = join(folder, 'table.lua')
  writeFileSync(table, jobSubmitTableText(config(partitions), [image('tiny'), image('a.b-c_d')]))
  const { stdout } = await execa('/usr/bin/lua5.1', [join(folder, 'show.lua'), table], { timeout: 10_000 })
  t.same(stdout.split('\n'), [
    '1\t2',
    'tiny\t8\t96\t4096\t200',
    'a.b-c_d\t8\t96\t4096\t200',
    'vm\ttiny\ttrue',
    'end\ta.b-c_d\tfalse',
  ])
})

t.test('a partition that stands there twice, or with an image that is not there, is refused', async (t) => {
  const twice = config([
    { name: 'vm', image: 'tiny' },
    { name: 'vm', image: 'tiny' },
  ])
  t.throws(() => jobSubmitTableText(twice, [image('tiny')]), { code: 'config-invalid', message: /partition vm twice/ })
  const missing = config([{ name: 'vm', image: 'gone' }])
  t.throws(() => jobSubmitTableText(missing, [image('tiny')]), { code: 'config-invalid', message: /no image gone/ })
})

// The table of the rules at submission, from vmrmd.xml and the catalogue. slurmctld reads one in command-cluster.test.ts.

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

t.test('it holds what was configured, and no name can end a string of it', async (t) => {
  const partitions = [
    { name: 'vm', image: 'tiny', optOut: true },
    { name: 'end', image: 'a.b-c_d' },
  ]
  t.equal(
    jobSubmitTableText(config(partitions), [image('tiny'), image('a.b-c_d')]),
    `-- Made by \`vmrm job-submit-table\` from vmrmd.xml and the catalogue; do not edit.
return {
  version = 1,
  threads_per_core = 2,
  images = {
    ['tiny'] = { max_cpus = 8, min_memory_mib = 96, max_memory_mib = 4096, overhead_mib = 200 },
    ['a.b-c_d'] = { max_cpus = 8, min_memory_mib = 96, max_memory_mib = 4096, overhead_mib = 200 },
  },
  partitions = {
    ['vm'] = { default_image = 'tiny', opt_out = true },
    ['end'] = { default_image = 'a.b-c_d', opt_out = false },
  },
}
`,
  )
  const hostile = { ...config([]), partitions: { entries: [{ name: "x']=os--\n\\é", image: 'tiny', optOut: false }] } }
  t.match(
    jobSubmitTableText(hostile, [image('tiny')]),
    String.raw`    ['x\039\093\061os--\010\092\195\169'] = { default_image = 'tiny', opt_out = false },`,
  )
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

// The table of the rules at submission, from vmrmd.xml and the catalogue, and the flag beside it. slurmctld reads them in
// command-cluster.test.ts.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { flagBeside, setFlag } from '../../lib/command/job-submit/default-flag.ts'
import { jobSubmitTableText, mayDecide } from '../../lib/command/job-submit/table-text.ts'
import { daemonConfigSchema } from '../../lib/config/daemon-schema.ts'
import { createFakeSlurm } from '../fakes/slurm.ts'
import { imageOf } from '../support/image-of.ts'

const image = (name: string, access: object = { policy: 'all' }) =>
  imageOf(name, { access, limits: { minMemoryMib: 96, maxMemoryMib: 4096, maxCpus: 8 } })

const config = (defaults: object, submission: object = {}) =>
  daemonConfigSchema.parse({
    version: '1',
    cluster: { name: 'c' },
    controller: { host: 'ctl' },
    slurm: { threadsPerCore: 2 },
    hypervisor: { overheadMib: 200 },
    ...{ defaults, submission },
  })

t.test('it holds what was configured, and no name can end a string of it', async (t) => {
  const defaults = {
    partitions: [
      { name: 'vm', image: 'tiny', optOut: true },
      { name: 'end', image: 'a.b-c_d', perNode: 2, script: 'host' },
    ],
    accounts: [{ name: 'physics', image: 'tiny' }],
    users: [{ name: 'zoë', image: 'none' }],
  }
  const listed = { policy: 'listed', users: [{ name: 'alice' }], accounts: [{ name: 'physics' }] }
  const sizes = 'max_cpus = 8, min_memory_mib = 96, max_memory_mib = 4096, overhead_mib = 200'
  const images = [image('tiny'), image('a.b-c_d', listed), image('grouped', { ...listed, groups: [{ name: 'g' }] })]
  t.equal(
    jobSubmitTableText(config(defaults, { requeue: 'required' }), images),
    `-- Made by \`vmrm job-submit-table\` from vmrmd.xml and the catalogue; do not edit.
return {
  version = 1,
  threads_per_core = 2,
  from_environment = true,
  requeue = 'required', open_mode = 'any',
  images = {
    ['tiny'] = { ${sizes} },
    ['a.b-c_d'] = { ${sizes}, allowed = { users = { ['alice'] = true, }, accounts = { ['physics'] = true, } } },
    ['grouped'] = { ${sizes} },
  },
  users = {
    ['zo\\195\\171'] = { default_image = 'none', opt_out = false, per_node = 1, script = 'guest' },
  },
  accounts = {
    ['physics'] = { default_image = 'tiny', opt_out = false, per_node = 1, script = 'guest' },
  },
  partitions = {
    ['vm'] = { default_image = 'tiny', opt_out = true, per_node = 1, script = 'guest' },
    ['end'] = { default_image = 'a.b-c_d', opt_out = false, per_node = 2, script = 'host' },
  },
}
`,
  )
  const hostile = { ...config({}), submission: config({}).submission }
  const partitions = [{ name: "x']=os--\n\\é", image: 'tiny', optOut: false, perNode: 1, script: 'guest' as const }]
  t.match(
    jobSubmitTableText({ ...hostile, defaults: { partitions, accounts: [], users: [] } }, [image('tiny')]),
    String.raw`    ['x\039\093\061os--\010\092\195\169'] = { default_image = 'tiny'`,
  )
})

t.test('an entry that stands there twice, or with an image that is not there, is refused', async (t) => {
  const tiny = { name: 'vm', image: 'tiny' }
  for (const [list, what] of [
    ['partitions', 'partition'],
    ['accounts', 'account'],
    ['users', 'user'],
  ] as const) {
    const twice = { code: 'config-invalid', message: new RegExp(`${what} vm twice`) }
    t.throws(() => jobSubmitTableText(config({ [list]: [tiny, tiny] }), [image('tiny')]), twice)
    const missing = { code: 'config-invalid', message: /no image gone/ }
    t.throws(() => jobSubmitTableText(config({ [list]: [{ name: 'vm', image: 'gone' }] }), [image('tiny')]), missing)
  }
  const exempt = config({ partitions: [{ name: 'vm', image: 'none' }] })
  t.throws(
    () => jobSubmitTableText(exempt, [image('tiny')]),
    { message: /no image none/ },
    'a partition exempts nobody',
  )
})

t.test('the flag is there while a job may have an image that it did not name', async (t) => {
  t.equal(mayDecide(config({})), false)
  t.equal(mayDecide(config({}, { fromEnvironment: true })), true)
  t.equal(mayDecide(config({ users: [{ name: 'a', image: 'tiny' }] })), true)
  const flag = flagBeside(join(t.testdir({}), 'table.lua'))
  const slurm = createFakeSlurm()
  t.equal(await setFlag(flag, 'decides-nothing', slurm), 'absent')
  t.equal(await setFlag(flag, 'decides', slurm), 'set')
  t.ok(existsSync(flag))
  slurm.comments.set(7, 'vmrm-image=tiny')
  t.equal(await setFlag(flag, 'decides-nothing', slurm), 'kept', 'a job in the queue has one')
  t.ok(existsSync(flag))
  slurm.comments.clear()
  const silent = { ...slurm, hasDecidedJobs: async () => Promise.reject(new Error('Slurm is down')) }
  t.equal(await setFlag(flag, 'decides-nothing', silent), 'kept', 'nobody can say')
  t.equal(await setFlag(flag, 'decides-nothing', slurm), 'absent')
  t.notOk(existsSync(flag))
})

// The snippets as an administrator includes them, in a real slurmctld and slurmd: nothing but the fakes of vmrm's programs is added.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { buildPart, makeScratch } from '../support/c-parts.ts'
import { fakeHook, fakeParts } from '../support/fake-vmrm.ts'
import { type MiniSlurm, startMiniSlurm } from '../support/mini-slurm.ts'
import { until } from '../support/until.ts'

t.setTimeout(120_000)
const scratch = await makeScratch('snippets')
t.teardown(() => rm(scratch, { recursive: true, force: true }))
await buildPart('spank', scratch)
await buildPart('gate', scratch)
const snippets = join(import.meta.dirname, '../../slurm-conf-snippets')
const snippet = async (name: string, path: string) => ({ path, content: await readFile(join(snippets, name)) })
const gate = await readFile(join(scratch, 'vmrm-gate'))
const kinds = ['prolog', 'epilog', 'prolog-slurmctld', 'epilog-slurmctld']

const table = `return { version = 1,
  images = {
    tiny = { max_cpus = 2, min_memory_mib = 100, max_memory_mib = 1000, overhead_mib = 50 },
    other = {},
    guarded = { allowed = { users = {}, accounts = { physics = true } } },
  },
  partitions = { vms = { default_image = 'tiny' }, },
}\n`

const slurm: MiniSlurm = await startMiniSlurm({
  slurmConf: 'include /etc/slurm/slurm.conf.vmrm\ninclude /etc/slurm/job_submit.conf.vmrm\n',
  files: [
    { path: '/usr/lib/vmrm/vmrm.so', content: await readFile(join(scratch, 'vmrm.so')), mode: '0755' },
    ...kinds.map((kind) => ({ path: `/usr/lib/vmrm/gate/${kind}`, content: gate, mode: '0755' })),
    ...fakeParts(),
    ...['vmrm-prolog-slurmctld', 'vmrm-epilog-slurmctld'].map((name) => ({
      path: `/usr/lib/vmrm/${name}`,
      content: fakeHook,
      mode: '0755',
    })),
    await snippet('slurm.conf.vmrm', '/etc/slurm/slurm.conf.vmrm'),
    await snippet('job_submit.conf.vmrm', '/etc/slurm/job_submit.conf.vmrm'),
    await snippet('plugstack.conf.vmrm', '/etc/slurm/plugstack.conf.vmrm'),
    { path: '/etc/slurm/plugstack.conf', content: 'include /etc/slurm/plugstack.conf.vmrm\n' },
    ...(await Promise.all(
      ['vmrm', 'job', 'choice', 'size'].map((name) =>
        snippet(`job_submit/${name}.lua`, `/usr/lib/vmrm/job_submit/${name}.lua`),
      ),
    )),
    await snippet('job_submit/job_submit.lua', '/etc/slurm/job_submit.lua'),
    { path: '/etc/vmrm/job_submit_table.lua', content: table },
  ],
})
t.teardown(() => slurm.stop())
await slurm.run(['install', '-d', '-m', '1777', '/run/hooks'], { user: 'root' })

t.test('slurm.conf.vmrm is accepted whole', async (t) => {
  const config = (await slurm.run(['scontrol', 'show', 'config'])).stdout
  for (const setting of [
    /^Prolog += \/usr\/lib\/vmrm\/gate\/prolog$/m,
    /^EpilogSlurmctld += \/usr\/lib\/vmrm\/gate\/epilog-slurmctld$/m,
    /^PrologFlags += Alloc,DeferBatch$/m,
    /^PrologEpilogTimeout += 900$/m,
    /^JobSubmitPlugins += lua$/m,
  ])
    t.match(config, setting)
  t.notMatch(await slurm.logs(), /specified more than once|vmrm.*(error|fatal)/i)
})

t.test('a VM job passes all four hooks, a plain one none', async (t) => {
  t.match(await slurm.run(['srun', 'echo', 'plain']), { code: 0, stdout: 'plain\n' })
  const inVm = await slurm.run(['srun', '--vm-image=tiny', '--mem=500', 'true'])
  t.match(inVm.stdout, 'vmrm-run as alice')
  const hooks = async () => (await slurm.run(['ls', '/run/hooks'])).stdout.trim().split('\n')
  await until('all four hooks', async () => (await hooks()).length === 4)
  t.same((await hooks()).sort(), kinds.map((kind) => `vmrm-${kind}.2`).sort())
})

const submit = (args: readonly string[], user: 'alice' | 'bob' = 'alice') =>
  slurm.run(['sbatch', '-H', ...args, '--wrap', 'true'], { user })
const vm = ['--vm-image=tiny']
const passes: readonly (readonly string[])[] = [
  [],
  ['--mem=3000', '-n4'],
  [...vm, '-n2', '--mem=1050'],
  [...vm, '-n4', '-N1', '--vm-per-node=2', '--mem=2100'],
  [...vm, '-n4', '--vm-per-node=4', '--mem=0'],
  [...vm, '--vm-per-node=4', '--exclusive'],
  [...vm, '-n2', '--mem-per-cpu=100'],
  ['--vm-image=not-in-the-table', '-n4', '-N1', '--mem=3000'],
  ['--vm-image=tiny@7', '-n1'],
  ['--vm-image=none', '-n4', '-N1', '--mem=3000'],
  ['-p', 'vms', ...vm],
  ['-p', 'vms'],
  ['--vm-image=guarded', '-A', 'Physics'],
]
for (const args of passes)
  t.test(`passes: ${args.join(' ')}`, async (t) => t.match(await submit(args), { code: 0, stderr: '' }))

const refusals: readonly (readonly [readonly string[], string])[] = [
  [[...vm, '-c3'], 'a VM of the job would have 3 CPUs, and image tiny allows 2'],
  [['--vm-image=tiny@7', '-n4', '-N1-1'], 'a VM of the job would have 4 CPUs'],
  [[...vm, '--ntasks-per-node=3'], 'a VM of the job would have 3 CPUs'],
  [[...vm, '--mem=1051'], 'a VM of the job would have 1001 MiB, and image tiny allows 1000'],
  [[...vm, '-c2', '--mem-per-cpu=600'], 'a VM of the job would have 1150 MiB'],
  [[...vm, '--mem=149'], 'a VM of the job would have 99 MiB, and image tiny needs 100: ask for at least 150 MiB'],
  [
    [...vm, '-n2', '--vm-per-node=2', '--mem=299'],
    'a VM of the job would have 99 MiB, and image tiny needs 100: ask for at least 300 MiB',
  ],
  [[...vm, '-n2', '--vm-per-node=3'], '--vm-per-node=3 needs at least 3 CPUs on each node, and the job asks for 2'],
  [
    [...vm, '-n4', '-N2', '--vm-per-node=4'],
    '--vm-per-node=4 needs at least 4 CPUs on each node, and the job asks for 3',
  ],
  [['-p', 'vms', '-c3'], 'a VM of the job would have 3 CPUs, and image tiny allows 2'],
  [['-p', 'main,vms', '--mem=1051'], 'a VM of the job would have 1001 MiB, and image tiny allows 1000'],
  [['--vm-image=guarded', '-A', 'chemistry'], 'user alice may not use image guarded'],
  [['-p', 'vms', '--export=VMRM_CHECKPOINT=60'], 'VMRM_CHECKPOINT: checkpoints are not available in this version'],
  [
    ['--export=VMRM_IMAGE=tiny'],
    'VMRM_IMAGE counts on this cluster only where sbatch, srun or salloc has read it: submit the job with one of them',
  ],
  [['-p', 'vms', '--vm-image=none'], 'partition vms runs its jobs in VMs only: --vm-image=none is not allowed there'],
]
for (const [args, sentence] of refusals)
  t.test(`refused: ${args.join(' ')}`, async (t) =>
    t.match(await submit(args), { code: 1, stdout: '', stderr: `sbatch: error: vmrm: ${sentence}` }),
  )

t.test('srun and salloc are held to the same rules', async (t) => {
  for (const command of ['srun', 'salloc'])
    t.match((await slurm.run([command, ...vm, '-c3', 'true'])).stderr, 'a VM of the job would have 3 CPUs')
})

t.test('--x11 is refused to a job with a default image, which the plug-in cannot know of', async (t) => {
  // Before it asks a plug-in, srun looks for the cookie of a display whose host it can find.
  const env = { DISPLAY: 'mini:3', XAUTHORITY: join(slurm.shared, 'xauth') }
  t.match(await slurm.run(['xauth', 'add', 'mini:3', '.', 'cafe'.repeat(8)], { env }), { code: 0 })
  const sentence = 'error: vmrm: --x11 does not work in VMs, and this job would run in them by default: leave it out'
  for (const argv of [
    ['srun', '--x11', '-p', 'vms'],
    ['salloc', '--x11=all', '--partition=main,vms'],
  ])
    t.match(await slurm.run([...argv, 'true'], { env }), { code: 1, stderr: `${argv[0]}: ${sentence}` })
  for (const own of [[], ['-p', 'vms', '--vm-image=none']]) {
    const { stderr } = await slurm.run(['srun', '--x11', ...own, 'true'], { env })
    t.notMatch(stderr, '--x11 does not work', own.join(' '))
  }
})

const writeTable = (content: string) => slurm.put({ path: '/etc/vmrm/job_submit_table.lua', content })
/** AdminComment and the batch job's variables of vmrm, as a job that is held has them. */
const decision = async (t: Test, args: readonly string[], user: 'alice' | 'bob' = 'alice') => {
  const { code, stdout, stderr } = await submit(args, user)
  t.equal(code, 0, stderr)
  const id = stdout.trim().split(' ').at(-1) ?? ''
  const shown = (await slurm.run(['scontrol', '--oneliner', 'show', 'job', id])).stdout
  return { id, comment: /AdminComment=(.*?) (?=[A-Z][A-Za-z]+=)/.exec(`${shown.trim()} X=`)?.[1]?.trim() ?? '' }
}

t.test('the default of the user counts, else that of the account, else that of the partition', async (t) => {
  await writeTable(`return { version = 1, from_environment = true, images = { tiny = {}, other = {} },
    users = { bob = { default_image = 'tiny', per_node = 2 } },
    accounts = { physics = { default_image = 'other', script = 'host', opt_out = true } },
    partitions = { vms = { default_image = 'tiny' }, low = { default_image = 'other' } } }`)
  for (const [args, comment] of [
    [[], ''],
    [['-p', 'vms'], 'vmrm-image=tiny'],
    [['-p', 'main,vms'], 'vmrm-image=tiny'],
    [['-p', 'vms', '-A', 'Physics'], 'vmrm-image=other vmrm-script=host'],
    [['-p', 'vms', '-A', 'physics', '--vm-image=none'], ''],
    [['-p', 'vms', '--vm-image=other'], ''],
    [
      ['-n3', '--export=VMRM_IMAGE=tiny@7,VMRM_PER_NODE=3,VMRM_SCRIPT=host'],
      'vmrm-image=tiny@7 vmrm-per-node=3 vmrm-script=host',
    ],
    [['-p', 'vms', '-A', 'physics', '--export=VMRM_IMAGE=none'], ''],
  ] as const)
    t.equal((await decision(t, args)).comment, comment, args.join(' '))
  const ofBob = ['-p', 'vms', '-A', 'physics', '-n2']
  t.equal((await decision(t, ofBob, 'bob')).comment, 'vmrm-image=tiny vmrm-per-node=2')
  for (const [args, sentence] of [
    [
      ['-p', 'vms,low'],
      /partition vms and partition low run their jobs in different VMs|partition low and partition vms/,
    ],
    [['--export=VMRM_IMAGE=nosuch'], /there is no image nosuch on this cluster/],
    [['--export=VMRM_IMAGE=../x'], /VMRM_IMAGE is not the name of an image: '..\/x'/],
    [['--export=VMRM_IMAGE=tiny,VMRM_PER_NODE=0'], /VMRM_PER_NODE is not a number of VMs/],
    [['--export=VMRM_IMAGE=tiny,VMRM_SCRIPT=x'], /VMRM_SCRIPT is neither guest nor host/],
    [['-p', 'vms', '--export=VMRM_IMAGE=none'], /partition vms runs its jobs in VMs only/],
  ] as const) {
    const refused = await submit(args)
    t.match(refused, { code: 1, stderr: sentence }, args.join(' '))
  }
})

t.test('a user or an account may be exempt', async (t) => {
  await writeTable(`return { version = 1, users = { bob = { default_image = 'none' } },
    partitions = { vms = { default_image = 'tiny' } } }`)
  t.equal((await decision(t, ['-p', 'vms'], 'bob')).comment, '')
  t.equal((await decision(t, ['-p', 'vms', '--vm-image=none'], 'bob')).comment, '')
  t.equal((await decision(t, ['-p', 'vms'])).comment, 'vmrm-image=tiny')
})

t.test('a job keeps what was decided when it is changed', async (t) => {
  const update = (id: string, ...changes: string[]) =>
    slurm.run(['scontrol', 'update', `JobId=${id}`, ...changes], { user: 'root' })
  const commentOf = async (id: string) =>
    /AdminComment=(.*)/.exec((await slurm.run(['scontrol', 'show', 'job', id])).stdout)?.[1]?.trim() ?? ''
  const inVms = await decision(t, ['-p', 'vms'])
  t.match(await update(inVms.id, 'Partition=main'), { code: 0 })
  t.equal(await commentOf(inVms.id), 'vmrm-image=tiny')
  t.match(await update(inVms.id, 'AdminComment=looked at by root'), { code: 0 })
  t.equal(await commentOf(inVms.id), 'vmrm-image=tiny looked at by root')
  t.match(await update(inVms.id, 'AdminComment=vmrm-image=other'), { code: 0 })
  t.equal(await commentOf(inVms.id), 'vmrm-image=other', 'an administrator may choose another')
  const byUser = await slurm.run(['scontrol', 'update', `JobId=${inVms.id}`, 'AdminComment=mine'])
  t.match(byUser, { code: 1, stderr: /denied/ }, 'a user may not')
  const plain = await decision(t, [])
  t.match(await update(plain.id, 'Partition=vms'), { code: 1, stderr: /denied/ })
  t.match(await slurm.logs(), `vmrm: job ${plain.id} is not changed: partition vms runs its jobs in VMs only`)
  t.match(await update(plain.id, 'Partition=vms', 'AdminComment=vmrm-image=tiny'), { code: 0 })
  t.equal(await commentOf(plain.id), 'vmrm-image=tiny')
  t.match(await update((await decision(t, [])).id, 'TimeLimit=5'), { code: 0 }, 'other changes pass')
})

t.test('a site may ask VM jobs to be ready for a second start', async (t) => {
  await writeTable(table.replace('version = 1', "version = 1, requeue = 'required', open_mode = 'append'"))
  const append = '--open-mode=append'
  t.match(await submit([...vm, append]), { code: 0 })
  t.match(await submit(['--no-requeue']), { code: 0 }, 'plain jobs may do as they like')
  t.match((await submit([...vm, append, '--no-requeue'])).stderr, /jobs in VMs must be ones that Slurm may requeue/)
  t.match(
    (await submit(['-p', 'vms'])).stderr,
    /jobs in VMs must append to their output on this cluster: add --open-mode=append/,
  )
  t.match(
    (await slurm.run(['srun', ...vm, '--mem=500', 'true'])).stdout,
    'vmrm-run',
    'srun has no file that starts anew',
  )
})

t.test('the table may opt out, change at any time, be missing, broken or hostile', async (t) => {
  const write = writeTable
  await write(table.replace("default_image = 'tiny'", "default_image = 'tiny', opt_out = true"))
  t.match(await submit(['-p', 'vms', '--vm-image=none']), { code: 0 })
  await write(table.replace('version = 1', 'version = 1, threads_per_core = 2'))
  t.match(await submit([...vm, '-n1', '--vm-per-node=2']), { code: 0 })
  for (const broken of [
    '',
    'return 1',
    'return {',
    'return { version = 2 }',
    'os.exit(3)',
    'while true do error() end',
  ]) {
    await write(broken)
    t.match(await submit([...vm, '-c3']), { code: 0 }, broken)
  }
  await write("return { version = 1, images = 'x', partitions = 7 }")
  t.match(await submit([...vm, '-c3']), { code: 0 })
  await slurm.run(['rm', '/etc/vmrm/job_submit_table.lua'], { user: 'root' })
  t.match(await submit([...vm, '-c3']), { code: 0 })
  t.match(await slurm.logs(), 'vmrm: job_submit checks nothing, /etc/vmrm/job_submit_table.lua cannot be used')
})

t.test('without a table, and with defaults, a job must name its image: it could have one', async (t) => {
  await slurm.run(['touch', '/etc/vmrm/default-images'], { user: 'root' })
  const refused = { code: 1, stderr: /vmrm: some jobs of this cluster run in VMs by default/ }
  t.match(await submit([]), refused)
  t.match(await submit(['--vm-image=none']), refused)
  t.match(await submit([...vm]), { code: 0 })
  await writeTable('return { version = 1, partitions = 7 }')
  t.match(await submit([]), refused, 'nor with a table that the rules cannot bear')
  await slurm.run(['rm', '/etc/vmrm/default-images'], { user: 'root' })
  t.match(await submit([]), { code: 0 })
})

t.test('the example table is one that the rules accept', async (t) => {
  await slurm.put(await snippet('job_submit/job_submit_table.lua', '/etc/vmrm/job_submit_table.lua'))
  t.equal((await decision(t, ['-p', 'vms', '-A', 'physics'])).comment, 'vmrm-image=debian12')
})

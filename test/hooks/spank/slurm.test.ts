// The plug-in inside the real sbatch, srun, salloc and slurmstepd, with the real gate as Prolog and Epilog.
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { buildPart, makeScratch } from '../../support/c-parts.ts'
import { fakeParts } from '../../support/fake-vmrm.ts'
import { type MiniSlurm, type RunOptions, startMiniSlurm } from '../../support/mini-slurm.ts'

t.setTimeout(120_000)
const scratch = await makeScratch('spank-slurm')
t.teardown(() => rm(scratch, { recursive: true, force: true }))
await buildPart('spank', scratch)
await buildPart('gate', scratch)

const plugin = { path: '/usr/lib/vmrm/vmrm.so', content: await readFile(join(scratch, 'vmrm.so')), mode: '0755' }
const gate = await readFile(join(scratch, 'vmrm-gate'))
const gates = ['prolog', 'epilog'].map((name) => ({ path: `/usr/lib/vmrm/gate/${name}`, content: gate, mode: '0755' }))

function start(plugstack: 'required' | 'optional', withPlugin: 'with-plugin' | 'without-plugin' = 'with-plugin') {
  return startMiniSlurm({
    slurmConf: 'Prolog=/usr/lib/vmrm/gate/prolog\nEpilog=/usr/lib/vmrm/gate/epilog\nPrologFlags=Alloc,DeferBatch\n',
    files: [
      ...(withPlugin === 'with-plugin' ? [plugin] : []),
      ...gates,
      ...fakeParts(),
      { path: '/etc/slurm/plugstack.conf', content: `${plugstack} /usr/lib/vmrm/vmrm.so\n` },
    ],
  })
}

async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`not within 15 s: ${what}`)
    await delay(50)
  }
}

/** The vmrm variables a job's Prolog hook saw, sorted; undefined if the gate started no hook. */
async function hookSaw(slurm: MiniSlurm, job: string): Promise<string | undefined> {
  const seen = await slurm.run(['sh', '-c', `grep SPANK_VMRM /run/hooks/vmrm-prolog.${job} | sort`])
  return seen.stdout === '' ? undefined : seen.stdout.trim().replaceAll('\n', ' ')
}

/** Submits, waits for the end, and gives the job's id and output. */
async function batch(slurm: MiniSlurm, script: string, args: readonly string[] = [], options: RunOptions = {}) {
  const submitted = await slurm.run(['sbatch', '--parsable', '-o', 'out.%j', ...args], { ...options, input: script })
  if (submitted.code !== 0) throw new Error(submitted.stderr)
  const job = submitted.stdout.trim()
  await until(`the end of job ${job}`, async () => (await slurm.run(['squeue', '-h', '-j', job])).stdout === '')
  return { job, output: await readFile(join(slurm.shared, `out.${job}`), 'utf8') }
}

const vm = 'SPANK_VMRM_IMAGE=tiny SPANK_VMRM_PER_NODE=1 SPANK_VMRM_SCRIPT=guest'

t.test('submitting', async (t) => {
  const slurm = await start('required')
  t.teardown(() => slurm.stop())

  for (const command of ['sbatch', 'srun', 'salloc'])
    await t.test(`${command} --help lists the options`, async (t) => {
      const help = (await slurm.run([command, '--help'])).stdout
      for (const option of ['--vm-image=NAME[@REV]', '--vm-per-node=K', '--vm-script=guest|host', '--vm-checkpoint'])
        t.match(help, option)
      const lines = help.slice(help.indexOf('Options provided by plugins'), help.indexOf('GPU scheduling'))
      t.ok(lines.split('\n').every((line) => line.length <= 80))
    })

  const refusals = [
    [['--vm-image=Bad Name'], "vmrm: --vm-image: 'Bad Name' is not the name of an image"],
    [['--vm-image=secret'], 'vmrm: image secret is not for alice\nCOMMAND: error: vmrm: ask bob'],
    [['--vm-image=none@1'], "vmrm: --vm-image: 'none@1' is not"],
    [['--vm-per-node=2'], 'vmrm: --vm-per-node needs an image: add --vm-image=NAME'],
    [['--vm-image=none', '--vm-script=host'], 'vmrm: --vm-script needs an image'],
    [['--vm-image=tiny', '--vm-per-node=0'], "vmrm: --vm-per-node: '0' is not a number of VMs"],
    [['--vm-image=tiny', '--vm-script=both'], "vmrm: --vm-script: 'both' is neither guest nor host"],
    [['--vm-image=tiny', '--vm-checkpoint'], 'vmrm: --vm-checkpoint: checkpoints are not available'],
    [['--vm-image=tiny', '--vm-checkpoint=preempt'], 'vmrm: --vm-checkpoint: checkpoints are not available'],
  ] as const
  for (const command of ['sbatch', 'srun', 'salloc'])
    for (const [options, sentence] of refusals)
      await t.test(`${command} ${options.join(' ')} is refused before there is a job`, async (t) => {
        const refused = await slurm.run([
          command,
          ...options,
          ...(command === 'sbatch' ? ['--wrap', 'true'] : ['true']),
        ])
        t.not(refused.code, 0)
        t.match(refused.stderr, `${command}: error: ${sentence.replace('COMMAND', command)}`)
        t.equal((await slurm.run(['squeue', '-h', '-a', '-t', 'all'])).stdout, '')
      })

  await t.test('a display is refused to VMs by any spelling of --x11, before there is a job', async (t) => {
    // Before it asks a plug-in, srun looks for the cookie of a display whose host it can find.
    const env = { DISPLAY: 'mini:3', XAUTHORITY: join(slurm.shared, 'xauth') }
    t.match(await slurm.run(['xauth', 'add', 'mini:3', '.', 'cafe'.repeat(8)], { env }), { code: 0 })
    const tried = (...argv: string[]) => slurm.run(argv, { env })
    for (const argv of [
      ['srun', '--x11'],
      ['srun', '--x'],
      ['salloc', '--x11=first'],
    ])
      t.match(await tried(...argv, '--vm-image=tiny', 'true'), {
        code: 1,
        stderr: `${argv[0]}: error: vmrm: --x11 does not work in VMs: leave it out, or add --vm-image=none`,
      })
    t.match(await tried('srun', '--x11', 'true'), { code: 1, stderr: 'X11 forwarding not available' }, "Slurm's answer")
    t.equal((await slurm.run(['squeue', '-h', '-a', '-t', 'all'])).stdout, '')
    const step = await tried('salloc', '-n1', '--vm-image=tiny', 'srun', '--x11', 'true')
    t.match(step.stdout, 'vmrm-run as alice', 'a step of a job that is there goes without')
    t.match(step.stderr, 'srun: error: Ignoring --x11 option for a job step within an existing job')
  })

  await t.test('a bad default in the environment is refused by its name', async (t) => {
    const refused = await slurm.run(['srun', 'true'], { env: { VMRM_IMAGE: 'a;b' } })
    t.equal(refused.code, 1)
    t.match(refused.stderr, "vmrm: VMRM_IMAGE: 'a;b' is not the name of an image")
  })

  await t.test('an answer that is none, or no answer within 5 s, is a warning', async (t) => {
    const odd = await slurm.run(['sbatch', '--vm-image=odd', '--wrap', 'true'])
    t.equal(odd.code, 0)
    t.match(odd.stderr, 'vmrm: warning: the image could not be checked')
    const began = Date.now()
    const slow = await slurm.run(['sbatch', '--vm-image=slow', '--wrap', 'true'])
    t.equal(slow.code, 0)
    t.match(slow.stderr, 'no answer within 5 seconds')
    t.ok(Date.now() - began < 8000)
  })

  await t.test('without the command line the submission goes on with a warning', async (t) => {
    await slurm.run(['mv', '/usr/lib/vmrm/vmrm', '/usr/lib/vmrm/away'], { user: 'root' })
    const missing = await slurm.run(['sbatch', '--vm-image=tiny', '--wrap', 'true'])
    await slurm.run(['mv', '/usr/lib/vmrm/away', '/usr/lib/vmrm/vmrm'], { user: 'root' })
    t.equal(missing.code, 0)
    t.match(missing.stderr, '/usr/lib/vmrm/vmrm cannot be run')
  })

  await t.test('the components of a heterogeneous job share one request', async (t) => {
    const script = join(slurm.shared, 'het.sh')
    await slurm.put({ path: script, content: '#!/bin/sh\n' })
    const submit = (...args: string[]) => slurm.run(['sbatch', ...args, script])
    const refused = [
      await submit('-n1', '--vm-image=tiny', ':', '-n1', '--vm-image=other'),
      await submit('-n1', ':', '-n1', '--vm-image=tiny'),
    ]
    for (const result of refused) t.match(result, { code: 1, stderr: 'all components of a heterogeneous job' })
    t.match(await submit('-n1', '--vm-image=tiny', ':', '-n1'), { code: 0 })
    t.match(await submit('-n1', '--vm-image=tiny', ':', '-n1', '--vm-image=tiny'), { code: 0 })
    await slurm.run(['scancel', '-u', 'alice'])
  })
})

t.test('running', async (t) => {
  const slurm = await start('required')
  t.teardown(() => slurm.stop())
  const srun = (args: readonly string[], options: RunOptions = {}) => slurm.run(['srun', ...args], options)

  await t.test('a batch script goes to vmrm-run with its arguments, as the user, in its folder', async (t) => {
    const { job, output } = await batch(slurm, '#!/bin/sh\n#SBATCH --vm-image=other\necho on the host\n', [
      '--vm-image=tiny',
    ])
    const named = `argument <--job>\nargument <${job}>\nargument <-->`
    t.match(output, `vmrm-run as alice in ${slurm.shared}\n${named}\nargument </var/spool/slurmd/job`)
    t.notMatch(output, 'on the host')
    t.match(output, 'SLURM_SPANK_VMRM_IMAGE=tiny')
    t.equal(await hookSaw(slurm, job), vm, 'the command line wins over #SBATCH')
  })

  await t.test('--vm-script=host keeps the batch script on the host, and its steps go to the VM', async (t) => {
    const { output } = await batch(slurm, '#!/bin/sh\necho script\nsrun echo step\n', [
      '--vm-image=tiny',
      '--vm-script=host',
    ])
    t.match(output, /^script\n/)
    t.match(output, 'argument <echo>\nargument <step>')
  })

  await t.test('hostile arguments reach vmrm-run as they are, and exit codes come back', async (t) => {
    const hostile = ['a b', '$(id)', '`id`', ';', '"', "'", 'x\ny', '', '--', '*', '\\']
    const result = await srun(['--vm-image=tiny', 'prog', ...hostile])
    t.equal(result.code, 7)
    t.match(result.stdout, `argument <-->\nargument <prog>\n${hostile.map((text) => `argument <${text}>\n`).join('')}`)
  })

  await t.test('environment defaults count, the last option wins, and none opts out', async (t) => {
    const byDefault = await srun(['true'], { env: { VMRM_IMAGE: 'tiny', VMRM_PER_NODE: '3' } })
    t.match(byDefault.stdout, 'SLURM_SPANK_VMRM_IMAGE=tiny\nSLURM_SPANK_VMRM_PER_NODE=3\n')
    const last = await srun(['--vm-image=a', '--vm-image=b', 'true'], { env: { VMRM_IMAGE: 'tiny' } })
    t.match(last.stdout, 'SLURM_SPANK_VMRM_IMAGE=b\n')
    const none = await srun(['--vm-image=none', 'echo', 'plain'], { env: { VMRM_IMAGE: 'tiny' } })
    t.match(none, { code: 0, stdout: 'plain\n' })
    const unused = await srun(['echo', 'plain'], { env: { VMRM_PER_NODE: '3', VMRM_SCRIPT: 'what' } })
    t.match(unused, { code: 0, stdout: 'plain\n' }, 'a default for VMs means nothing without an image')
  })

  await t.test('--export=NONE changes nothing', async (t) => {
    t.match((await srun(['--vm-image=tiny', '--export=NONE', 'true'])).stdout, 'vmrm-run as alice')
  })

  await t.test('vmrm-run is told of --multi-prog by any of its spellings, and of nothing alike', async (t) => {
    const told = 'SLURM_SPANK_VMRM_MULTI_PROG=1'
    await slurm.put({ path: join(slurm.shared, 'programs'), content: '0 echo %t\n1 echo "a b"\n', mode: '0644' })
    for (const option of ['--multi-prog', '--mul']) {
      const { stdout } = await srun(['-n2', '--vm-image=tiny', '--export=NONE', option, 'programs'])
      t.match(stdout, 'argument <-->\nargument <programs>\nargument <0 echo %t\n1 echo "a b"\n>')
      t.match(stdout, told)
    }
    t.match(
      (await srun(['--vm-image=tiny', 'echo', '--x11'])).stdout,
      'argument <--x11>',
      'what the command is given is not looked at',
    )
    const alike = await srun(['--vm-image=tiny', 'echo', '--multi-prog'], { env: { SLURM_SPANK_VMRM_MULTI_PROG: '1' } })
    t.match(alike.stdout, 'argument <-->\nargument <echo>\nargument <--multi-prog>')
    t.notMatch(alike.stdout, told)
  })

  await t.test('vmrm-run is told of --bcast, --task-prolog and --chdir, by options and variables', async (t) => {
    const told = async (args: readonly string[], env: Record<string, string> = {}) => {
      const stale = { SLURM_SPANK_VMRM_BCAST: '1', SLURM_SPANK_VMRM_TASK_EPILOG: 'x', ...env }
      const { stdout } = await srun(['--vm-image=tiny', ...args], { env: stale })
      return stdout.split('\n').filter((line) => /VMRM_(BCAST|TASK_|FOLDER|GUEST)/.test(line))
    }
    const folder = 'SLURM_SPANK_VMRM_FOLDER'
    const prolog = 'SLURM_SPANK_VMRM_TASK_PROLOG'
    t.strictSame(await told(['echo', '--bcast', '-D', '/usr']), [], 'arguments of the program are its own')
    t.strictSame(await told(['--task-p=/a', '-QD/usr', 'true']), [`${folder}=/usr`, `${prolog}=/a`])
    t.strictSame(await told(['true'], { SLURM_TASK_PROLOG: '/b' }), [`${prolog}=/b`])
    t.strictSame(await told(['--chdir', 'sub', 'true'], { VMRM_GUEST_CWD: '/in/guest' }), [`${folder}=/in/guest/sub`])
    t.strictSame(await told(['true'], { VMRM_GUEST_CWD: '/in/guest' }), [`${folder}=/in/guest`])
    t.strictSame(await told(['--bcast=/tmp/copy', 'true']), ['SLURM_SPANK_VMRM_BCAST=1'])
    const { output } = await batch(slurm, '#!/bin/sh\nsrun true\n', [
      '--vm-image=tiny',
      '--chdir=/usr',
      '-o',
      join(slurm.shared, 'out.%j'),
    ])
    t.match(output, `${folder}=/usr\n`)
  })

  await t.test('--task-epilog is refused with an image, and left to Slurm without one', async (t) => {
    const refused = await srun(['--vm-image=tiny', '--task-epilog=/bin/true', 'true'])
    t.match(refused, { code: 1, stderr: "vmrm: --task-epilog=/bin/true would run outside the job's VMs" })
    t.match(await srun(['true'], { env: { VMRM_IMAGE: 'tiny', SLURM_TASK_EPILOG: '/bin/true' } }), { code: 1 })
    t.match(await srun(['--task-epilog=/bin/true', 'echo', 'plain']), { code: 0, stdout: 'plain\n' })
  })

  await t.test('a step must want what its job has', async (t) => {
    const different = ['--vm-image=other', '--vm-image=none', '--vm-per-node=2', '--vm-script=host']
    const steps = ['srun --vm-image=tiny true', 'VMRM_IMAGE=other srun true', ...different.map((o) => `srun ${o} true`)]
    // salloc takes seconds to see its own allocation, so all steps share one.
    const script = steps.map((step) => `${step} 2>&1; echo "next"`).join('; ')
    const results = (await slurm.run(['salloc', '-n1', '--vm-image=tiny', 'sh', '-c', script])).stdout.split('next\n')
    for (const result of results.slice(0, 2)) t.match(result, 'vmrm-run as alice')
    for (const [index, option] of different.entries()) {
      t.match(results[index + 2], `vmrm: ${option}: this job has --vm-`)
      t.notMatch(results[index + 2], 'vmrm-run')
    }
    const plain = await slurm.run(['salloc', '-n1', 'srun', '--vm-image=tiny', 'true'])
    t.match(plain.stderr, 'vmrm: --vm-image=tiny: this job has --vm-image=none')
  })

  await t.test('what a VM job submits has no VM, unless it asks', async (t) => {
    const script = [
      'sbatch --parsable --wrap "env | grep VMRM_IMAGE"',
      'VMRM_IMAGE=tiny sbatch --parsable --wrap true',
      'env -u SLURM_JOB_ID srun -n1 echo step',
      'salloc -Q -n1 sh -c \'echo "<$SLURM_SPANK_VMRM_IMAGE>"; srun echo plain\'',
    ].join('\n')
    const outer = ['salloc', '-n1', '--vm-image=tiny', '--vm-per-node=2', 'sh', '-c', script]
    const [plain = '', asked = '', ...rest] = (await slurm.run(outer)).stdout.trim().split('\n')
    await until('both jobs', async () => (await slurm.run(['squeue', '-h'])).stdout === '')
    t.equal(await hookSaw(slurm, plain), undefined)
    t.equal(await readFile(join(slurm.shared, `slurm-${plain}.out`), 'utf8'), '')
    t.equal(await hookSaw(slurm, asked), vm)
    t.same(rest, ['step', '<>', 'plain'])
  })

  await t.test('the marker counts whatever the environment says', async (t) => {
    const denied = await srun(['--vm-image=tiny', 'env', '-u', 'SLURM_SPANK_VMRM_IMAGE', 'true'])
    t.match(denied.stdout, 'vmrm-run as alice')
    const { output } = await batch(slurm, '#!/bin/sh\n#\n', ['--vm-image=tiny', '--export=NONE'])
    t.match(output, 'vmrm-run as alice')
  })

  await t.test('no marker, or no vmrm-run: the task fails with a sentence', async (t) => {
    const switched = (command: string) => slurm.run(['sh', '-c', command], { user: 'root' })
    await switched('mv /usr/lib/vmrm/vmrm-run /usr/lib/vmrm/away')
    const missing = await srun(['--vm-image=tiny', 'echo', 'on the host'])
    await switched('mv /usr/lib/vmrm/away /usr/lib/vmrm/vmrm-run')
    t.match(missing, { code: 1, stdout: '', stderr: 'vmrm: cannot start /usr/lib/vmrm/vmrm-run: No such file' })
    const forged = await srun(['echo', 'on the host'], { env: { SLURM_SPANK_VMRM_IMAGE: 'tiny' } })
    t.match(forged, { code: 0, stdout: 'on the host\n' }, "what another job's tasks see is no request")
    const held = [
      'salloc',
      '-n1',
      '--vm-image=tiny',
      'sh',
      '-c',
      'rm -f ready; touch waiting; until test -e ready; do sleep 0.05; done; srun echo on the host',
    ]
    const running = slurm.run(held)
    await until('the allocation', async () => (await slurm.run(['test', '-e', 'waiting'])).code === 0)
    await switched('rm /run/vmrm/jobs/*')
    await slurm.run(['touch', 'ready'])
    t.match(await running, { stdout: '', stderr: 'vmrm: this job asked for VMs, but none were made on this node' })
  })

  await t.test('nothing is left of the markers', async (t) => {
    await until('no markers', async () => (await slurm.run(['ls', '-A', '/run/vmrm/jobs'])).stdout === '')
    t.pass()
  })
})

t.test('plugstack.conf', async (t) => {
  await t.test('with optional a refusal still ends the submission', async (t) => {
    const slurm = await start('optional')
    t.teardown(() => slurm.stop())
    t.match(await slurm.run(['sbatch', '--vm-image=secret', '--wrap', 'true']), { code: 1, stdout: '' })
    t.equal((await slurm.run(['squeue', '-h', '-a'])).stdout, '')
  })
  await t.test('with optional and no plug-in, jobs run and the option is unknown', async (t) => {
    const slurm = await start('optional', 'without-plugin')
    t.teardown(() => slurm.stop())
    t.match(await slurm.run(['srun', 'echo', 'plain']), { code: 0, stdout: 'plain\n' })
    t.match(await slurm.run(['srun', '--vm-image=tiny', 'true']), { stderr: "unrecognized option '--vm-image=tiny'" })
  })
  await t.test('with required and no plug-in, slurmd and every submission stop', async (t) => {
    const slurm = await start('required')
    t.teardown(() => slurm.stop())
    await slurm.run(['rm', '/usr/lib/vmrm/vmrm.so'], { user: 'root' })
    const refused = await slurm.run(['sbatch', '--wrap', 'true'])
    t.not(refused.code, 0)
    t.match(refused.stderr, '/usr/lib/vmrm/vmrm.so')
    const again = 'kill $(cat /run/slurmd.pid); until ! test -e /run/slurmd.pid; do sleep 0.05; done; slurmd -N mini'
    t.match(await slurm.run(['sh', '-c', again], { user: 'root' }), { code: 1 })
    t.match(await slurm.logs(), 'Failed to load plugin /usr/lib/vmrm/vmrm.so. Aborting.')
  })
})

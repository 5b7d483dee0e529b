// Each callback of the plug-in in each of Slurm's contexts, with hostile values, under ASan and UBSan, inside a mock SPANK host.
import { type SpawnSyncReturns, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { compile, makeScratch, sanitizers } from '../../support/c-parts.ts'
import { fakeCli, fakeTaskRunner } from '../../support/fake-vmrm.ts'

t.setTimeout(120_000)
const scratch = await makeScratch('spank-mock')
t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
const lib = join(scratch, 'lib')
const jobs = join(scratch, 'run', 'jobs')
const spank = join(import.meta.dirname, '../../../hooks/spank')
const sources = readdirSync(spank)
  .filter((name) => name.endsWith('.c'))
  .map((name) => join(spank, name))
const mock = join(scratch, 'mock')
const grammar = join(import.meta.dirname, '../../../lib/guest/call/grammar.c')
await compile([join(import.meta.dirname, 'mock/mock.c'), grammar, ...sources], mock, [
  '-Werror',
  ...sanitizers.split(' '),
  `-DVMRM_LIB_DIR="${lib}"`,
  `-DVMRM_RUN_DIR="${join(scratch, 'run')}"`,
])

t.beforeEach(() => {
  for (const folder of [lib, jobs]) rmSync(folder, { recursive: true, force: true })
  mkdirSync(lib, { recursive: true })
  mkdirSync(jobs, { recursive: true })
  writeFileSync(join(lib, 'vmrm'), fakeCli, { mode: 0o755 })
  writeFileSync(join(lib, 'vmrm-run'), fakeTaskRunner, { mode: 0o755 })
})

function drive(words: readonly string[], env: Record<string, string> = {}): SpawnSyncReturns<string> {
  return spawnSync(mock, words, { encoding: 'utf8', timeout: 20_000, env })
}
const fromFile = (value: string | Buffer) => {
  writeFileSync(join(scratch, 'value'), value)
  return `@${join(scratch, 'value')}`
}
const clean = /^state new-fds=0 children=none sigchld=default seen=0$/m

for (const context of ['local', 'allocator', 'remote'])
  t.test(`${context}: the options are registered`, async (t) => {
    const result = drive([context, 'init', 'opt:vm-image=tiny', 'opt:vm-per-node=2', 'opt:vm-script=host'])
    t.match(result, { status: 0, stderr: '' })
    t.match(result.stdout, 'return init 0\nreturn vm-image 0\nreturn vm-per-node 0\nreturn vm-script 0\n')
  })

for (const context of ['slurmd', 'job-script', 'error'])
  t.test(`${context}: nothing happens`, async (t) => {
    const result = drive([context, 'init', 'opt:vm-image=tiny', 'post-opt', 'task-init'], { VMRM_IMAGE: 'tiny' })
    t.match(result, { status: 0, stderr: '' })
    t.match(result.stdout, /^return init 0\nreturn post-opt 0\nreturn task-init 0\nstate .*\n$/)
  })

for (const context of ['local', 'allocator']) {
  t.test(`${context}: a request reaches the job-control environment`, async (t) => {
    const words = [context, 'init', 'opt:vm-image=a', 'opt:vm-image=tiny@r1.2_B', 'opt:vm-per-node=256', 'post-opt']
    const result = drive(words, { VMRM_IMAGE: 'other', VMRM_SCRIPT: 'host' })
    t.match(result, { status: 0, stderr: '' })
    t.match(result.stdout, 'control VMRM_IMAGE=tiny@r1.2_B\ncontrol VMRM_PER_NODE=256\ncontrol VMRM_SCRIPT=host\n')
    t.match(result.stdout, clean)
  })

  t.test(`${context}: no image, no job-control environment`, async (t) => {
    const result = drive([context, 'init', 'post-opt'], { VMRM_IMAGE: '', VMRM_PER_NODE: 'x', VMRM_CHECKPOINT: 'y' })
    t.match(result, { status: 0, stderr: '' })
    t.notMatch(result.stdout, /control|error|log/)
  })

  t.test(`${context}: an option nobody can pass on is an error`, async (t) => {
    for (const failing of ['spank_job_control_setenv', 'spank_option_register']) {
      const result = drive([context, 'init', 'opt:vm-image=tiny', 'post-opt'], { MOCK_FAIL: failing })
      t.match(result.stdout, /^error vmrm: cannot (pass VMRM_IMAGE on|register --vm-image)/m)
    }
  })

  t.test(`${context}: VMRM_CHECKPOINT is refused with an image`, async (t) => {
    const result = drive([context, 'init', 'opt:vm-image=tiny', 'post-opt'], { VMRM_CHECKPOINT: 'preempt' })
    t.match(result, { status: 1, stdout: 'error vmrm: VMRM_CHECKPOINT: checkpoints are not available' })
  })
}

const hostile: readonly (readonly [string, string | Buffer])[] = [
  ['nothing', ''],
  ['a newline', 'tiny\nVMRM_X=1'],
  ['a semicolon', 'tiny;id'],
  ['a substitution', '$(id)'],
  ['quotes', `"'\``],
  ['a path', '../../etc/passwd'],
  ['a leading dash', '-tiny'],
  ['upper case', 'Tiny'],
  ['a terminal escape', '\u001b[31mtiny'],
  ['invalid UTF-8', Buffer.from([0xff, 0xfe, 0x80])],
  ['two revisions', 'tiny@1@2'],
  ['an empty revision', 'tiny@'],
  ['a format', '%s%n%d'],
  ['64 bytes', 'a'.repeat(64)],
  ['a revision of 64 bytes', `tiny@${'a'.repeat(64)}`],
  ['1 MB', 'a'.repeat(1 << 20)],
  ['1 MB of digits', '1'.repeat(1 << 20)],
  ['a number over the limit', '257'],
  ['a number with a zero before it', '01'],
  ['a sign', '+1'],
]
for (const [what, value] of hostile)
  t.test(`${what} is refused as a value of every option and every variable`, async (t) => {
    for (const option of ['vm-image', 'vm-per-node', 'vm-script', 'vm-checkpoint']) {
      // Digits alone are a fine name for an image.
      if (option === 'vm-image' && /^[0-9]{1,63}$/.test(String(value))) continue
      const result = drive(['allocator', 'init', `opt:${option}=${fromFile(value)}`])
      t.match(result, { status: 0, stderr: '' })
      t.match(
        result.stdout,
        new RegExp(`^return init 0\nerror vmrm: --${option}: [ -~]{1,300}\nreturn ${option} -1\nstate`),
      )
    }
    const text = value.toString('latin1')
    for (const name of ['VMRM_PER_NODE', 'VMRM_SCRIPT']) {
      if (text === '' || text.length > 100_000) continue
      const result = drive(['allocator', 'init', 'opt:vm-image=tiny', 'post-opt'], { [name]: text })
      t.match(result, { status: 1, stderr: '' })
      t.match(result.stdout, new RegExp(`^error vmrm: ${name}: [ -~]{1,300}\n`, 'm'))
    }
    const remote = drive(['remote', 'init', `opt:vm-image=${fromFile(value)}`, 'post-opt'])
    t.match(remote.stdout, 'return vm-image 0\nreturn post-opt 0\n', 'slurmstepd never refuses an option')
  })

t.test('names and revisions of 63 bytes are fine', async (t) => {
  const image = `${'a'.repeat(63)}@${'Z'.repeat(63)}`
  t.match(drive(['allocator', 'init', `opt:vm-image=${image}`, 'post-opt']).stdout, `control VMRM_IMAGE=${image}\n`)
})

t.test('components of a heterogeneous job', async (t) => {
  const both = (...second: string[]) =>
    drive(['allocator', 'init', 'opt:vm-image=a', 'post-opt', ...second, 'post-opt'])
  t.equal(both().status, 0)
  t.equal(both('opt:vm-image=a').status, 0)
  t.match(both('opt:vm-image=b'), { status: 1, stdout: 'error vmrm: all components of a heterogeneous job' })
  t.match(both('opt:vm-per-node=2'), { status: 1 })
  t.match(drive(['local', 'init', 'post-opt', 'opt:vm-image=a', 'post-opt']), { status: 1 })
})

t.test('check-request gets its own arguments and nothing of ours', async (t) => {
  const words = ['allocator', 'init', 'opt:vm-image=echo-1@r', 'opt:vm-per-node=2', 'opt:vm-script=host', 'post-opt']
  const result = drive(words, { LD_X: 'x', BUN_OPTIONS: 'x', VMRM_X: 'y' })
  t.equal(result.status, 1)
  const lines = result.stdout.split('\n').filter((line) => line.startsWith('error '))
  const expected = ['check-request', '--image=echo-1@r', '--per-node=2', '--script=host']
  t.same(
    lines.slice(0, 4),
    expected.map((word) => `error ${word}`),
  )
  const rest = lines.slice(4).filter((line) => !/^error (_|PWD|OLDPWD|SHLVL)=/.test(line))
  t.same(rest.sort(), [
    'error /',
    'error 0',
    'error 1',
    'error 2',
    'error 3',
    'error LC_ALL=C.UTF-8',
    'error PATH=/usr/bin:/bin:/usr/sbin:/sbin',
  ])
})

const answers: readonly (readonly [string, string, RegExp, number])[] = [
  ['says nothing', 'exit 65', /^error vmrm: the controller refused this request$/m, 1],
  ['writes 1 MB', 'head -c 1000000 /dev/zero | tr "\\0" x >&2; exit 65', /^error x{396}\.\.\.$/m, 1],
  ['writes escapes', 'printf "a\\033[2Jb\\377\\n" >&2; exit 65', /^error a\?\[2Jb\?$/m, 1],
  ['writes a format', 'echo "%s%n%d" >&2; exit 65', /^error %s%n%d$/m, 1],
  ['is killed', 'kill -9 $$', /^log vmrm: warning: .*killed by signal 9/m, 0],
  ['leaves a child that holds its stderr', 'sleep 30 & exit 0', /^control VMRM_IMAGE=tiny$/m, 0],
  ['closes its stderr and stays', 'exec 2>&-; sleep 0.3; exit 65', /^error vmrm: the controller refused/m, 1],
  ['never answers', 'exec sleep 60', /^log vmrm: warning: .*no answer within 5 seconds/m, 0],
  [
    'never answers and ignores signals',
    'trap "" TERM INT HUP; while :; do read -r x; done </dev/zero',
    /no answer within 5 seconds/m,
    0,
  ],
]
for (const signals of ['default', 'ignored', 'handled'])
  for (const [what, script, expected, code] of answers) {
    // The bound costs 5 s each time; once is enough for both.
    if (what.startsWith('never') && signals !== 'handled') continue
    t.test(`check-request ${what}, SIGCHLD ${signals}`, async (t) => {
      writeFileSync(join(lib, 'vmrm'), `#!/bin/bash\n${script}\n`, { mode: 0o755 })
      const prepare = signals === 'ignored' ? ['ignore-sigchld'] : signals === 'handled' ? ['handle-sigchld'] : []
      const began = Date.now()
      const result = drive(['allocator', ...prepare, 'init', 'opt:vm-image=tiny', 'post-opt'])
      t.ok(Date.now() - began < 8000)
      t.match(result, { status: code, stderr: '' })
      t.match(result.stdout, expected)
      if (code === 0) t.match(result.stdout, `state new-fds=0 children=none sigchld=${signals} seen=0`)
    })
  }

for (const [what, prepare] of [
  ['missing', () => rmSync(join(lib, 'vmrm'))],
  ['not executable', () => chmodSync(join(lib, 'vmrm'), 0o644)],
] as const)
  t.test(`a command line that is ${what} is a warning`, async (t) => {
    prepare()
    const result = drive(['allocator', 'init', 'opt:vm-image=tiny', 'post-opt'])
    t.match(result, { status: 0, stdout: 'cannot be run); it will be when the job starts' })
    t.match(result.stdout, clean)
  })

const step = { MOCK_JOB: '42', MOCK_STEP: '0' }
const batch = { MOCK_JOB: '42', MOCK_STEP: '4294967291' }
const task = (env: Record<string, string>, argv = ['prog', 'a b', '', '$(id)\n;"'], words: string[] = []) =>
  drive(['remote', 'init', ...words, 'post-opt', 'task-init', '--', ...argv], { PATH: '/usr/bin:/bin', ...env })
const mark = (text: string) => writeFileSync(join(jobs, '42'), text)
const inVm = {
  status: 7,
  stdout:
    'argument <--job>\nargument <42>\nargument <-->\nargument <prog>\nargument <a b>\nargument <>\nargument <$(id)\n;">\n',
}
const onHost = { status: 0, stdout: 'return task-init 0' }

t.test('a task without marker and image runs on the host', async (t) => {
  t.match(task(step), onHost)
  t.match(task({ ...step, SLURM_SPANK_VMRM_IMAGE: 'none' }), onHost)
  t.match(task({ ...step, SLURM_SPANK_VMRM_IMAGE: '' }), onHost)
  t.match(task({ ...step, VMRM_IMAGE: 'tiny' }), onHost, "a user's default is not the job's")
  t.match(task(step, ['prog'], ['opt:vm-image=none']), onHost)
})

t.test('a task with a marker goes to vmrm-run, whatever its environment and options say', async (t) => {
  for (const text of [
    'script=guest\n',
    '',
    'x',
    'script=hostile\n',
    'script=host',
    'script=guest\nrestart=0\n',
    `script=host\n${'x'.repeat(100)}`,
  ]) {
    mark(text)
    t.match(
      task({ ...step, SLURM_JOB_ID: '41' }),
      inVm,
      "a heterogeneous job's later component has its first one's id there",
    )
    t.match(task({ ...batch, SLURM_SPANK_VMRM_IMAGE: 'none', SLURM_SPANK_VMRM_SCRIPT: 'host' }), inVm)
    t.match(task(batch, undefined, ['opt:vm-image=none']), inVm)
  }
})

t.test('script=host is for the batch step only', async (t) => {
  for (const text of ['script=host\n', 'script=host\nrestart=4294967295\n']) {
    mark(text)
    t.match(task(batch), onHost)
    t.match(task(step), inVm)
    t.match(task({ MOCK_JOB: '42', MOCK_STEP: '4294967290' }), inVm)
  }
})

t.test('an image without a marker fails the task', async (t) => {
  const refused = { status: 1, stderr: 'vmrm: this job asked for VMs, but none were made on this node' }
  for (const image of ['tiny', 'Not A Name', '\u001b[2J', 'x'.repeat(10_000)])
    t.match(task({ ...step, SLURM_SPANK_VMRM_IMAGE: image }), refused)
  t.match(task(step, ['prog'], ['opt:vm-image=tiny']), refused)
  rmSync(join(scratch, 'run'), { recursive: true })
  t.match(task({ ...step, SLURM_SPANK_VMRM_IMAGE: 'tiny' }), refused)
  t.match(task(step), onHost)
})

t.test('a marker that cannot be trusted or read fails the task', async (t) => {
  symlinkSync('/dev/null', join(jobs, '42'))
  t.match(task(step), { status: 1, stderr: `vmrm: cannot read ${jobs}/42` })
})

t.test('a missing vmrm-run fails the task', async (t) => {
  mark('script=guest\n')
  rmSync(join(lib, 'vmrm-run'))
  t.match(task(step), { status: 1, stderr: `vmrm: cannot start ${lib}/vmrm-run: No such file or directory` })
})

t.test('slurmstepd that does not answer fails the task', async (t) => {
  mark('script=guest\n')
  for (const item of ['S_JOB_ID', 'S_JOB_STEPID', 'S_JOB_ENV', 'S_JOB_ARGV'])
    t.match(task({ ...step, MOCK_FAIL: item }), { status: 1, stderr: 'vmrm: slurmstepd does not say' })
  t.match(task(step, []), { status: 1, stderr: 'vmrm: slurmstepd does not say what this task runs' })
})

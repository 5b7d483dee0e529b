// The command line itself: help, usage errors and exit codes, without a cluster. The real ones are in the cluster's tests.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { main } from '../../hooks/vmrm.ts'
import { parseJobId } from '../../lib/command/job-id.ts'
import { renderRuns } from '../../lib/command/ps.ts'
import { uidOf } from '../../lib/command/uid-of.ts'

/** `vmrm ARGS` on this machine, which is no part of a cluster. */
async function vmrm(...args: string[]) {
  const text = { stdout: '', stderr: '' }
  const restore = (['stdout', 'stderr'] as const).map((name) => {
    const write = process[name].write
    process[name].write = ((part: string) => {
      text[name] += part
      return true
    }) as typeof write
    return () => {
      process[name].write = write
    }
  })
  try {
    return { status: await main(args), ...text }
  } finally {
    for (const undo of restore) undo()
    process.stdout.removeAllListeners('error')
  }
}

const commandNames = [
  'check-request',
  'console',
  'cp',
  'create',
  'destroy',
  'doctor',
  'exec',
  'image',
  'job-submit-table',
  'ps',
  'ssh',
  'version',
]

t.test('help lists every command, and each command explains itself in two ways', async (t) => {
  const list = await vmrm('help')
  t.equal(list.status, 0)
  for (const name of commandNames) {
    t.match(list.stdout, new RegExp(`^  ${name} `, 'm'))
    const asked = await vmrm(name, '--help')
    t.equal(asked.status, 0)
    t.match(asked.stdout, new RegExp(`^usage: vmrm ${name}`))
    t.equal((await vmrm('help', name)).stdout, asked.stdout)
  }
  t.equal((await vmrm()).stdout, list.stdout)
  t.equal((await vmrm('version')).stdout, (await vmrm('--version')).stdout)
})

t.test('what vmrm does not understand ends with 64 and the usage, never with 65', async (t) => {
  const cases: string[][] = [
    ['nonsense'],
    ['help', 'nonsense'],
    ['constructor'],
    ['ps', '--al'],
    ['check-request', '--image=tiny', '--new-option=1'],
    ['check-request'],
    ['check-request', '--image=tiny', 'more'],
    ['image'],
    ['image', 'delete'],
    ['image', 'show'],
    ['image', 'show', 'a', 'b'],
    ['image', 'list', 'tiny'],
    ['job-submit-table', 'x'],
    ['doctor', '--role', 'cook'],
    ['doctor', 'x'],
    ['version', 'x'],
    ['create'],
    ['create', 'tiny'],
    ['create', 'tiny', 'tiny', '--memory=1'],
    ['create', '../tiny', '--memory=1'],
    ['create', 'tiny', '--memory=1g'],
    ['create', 'tiny', '--memory=1', '--name=b7'],
    ['create', 'tiny', '--memory=1', '--vm-strategy=some'],
    ['destroy'],
  ]
  for (const args of cases) {
    const { status, stdout, stderr } = await vmrm(...args)
    t.equal(status, 64, args.join(' '))
    t.match(stderr, /^vmrm: /)
    t.match(stderr, /usage: vmrm /)
    t.equal(stdout, '')
  }
})

t.test('a hostile request is refused with 65 before anything is asked', async (t) => {
  const values = [
    ['--image=../x'],
    ['--image='],
    ['--image=a@b@c'],
    ['--image=$(id)'],
    ['--image=tiny\nx'],
    ['--image=tiny', '--per-node=0'],
    ['--image=tiny', '--per-node=257'],
    ['--image=tiny', '--per-node=1e2'],
    ['--image=tiny', '--script=both'],
  ]
  for (const args of values) {
    const { status, stderr } = await vmrm('check-request', ...args)
    t.equal(status, 65, JSON.stringify(args))
    t.match(stderr, /^vmrm: VMRM_[A-Z_]+ has a value that cannot be used: /)
  }
})

t.test('without a configuration nothing is refused: the exit code is that of a wrong configuration', async (t) => {
  const { status, stderr } = await vmrm('check-request', '--image=tiny')
  t.equal(status, 78)
  t.match(stderr, /^vmrm: \/etc\/vmrm\/vmrmd\.xml cannot be read/)
  t.equal((await vmrm('doctor')).status, 1)
  t.match((await vmrm('doctor')).stdout, /FAIL {2}configuration/)
})

t.test('job ids are plain numbers', async (t) => {
  t.equal(parseJobId('1'), 1)
  t.equal(parseJobId('4294967295'), 4_294_967_295)
  for (const text of ['', '0', '01', '-1', '1.5', '1e3', '4294967296', '12_3', '7+1', ' 1', '1\n', '１', 'x'])
    t.throws(() => parseJobId(text), { code: 'request-invalid' }, JSON.stringify(text))
  t.throws(() => parseJobId('12_3'), {
    code: 'request-invalid',
    hint: 'A task of an array has a job id of its own: see `squeue --format="%i %A"`.',
  })
})

t.test('runs are shown a line a VM, with the reason below and no control characters', async (t) => {
  const common = { job: 7, restart: 1, user: 'alice', image: 'tiny', began: '2026-01-31T12:00:00.000Z' }
  const vm = { name: 'j7r1v0', hostname: 'tiny-0001', node: 'n1', address: '10.77.0.2', state: 'running' } as const
  const text = renderRuns([
    { ...common, state: 'committed', vms: [vm, { ...vm, name: 'j7r1v1', node: 'n2' }] },
    { ...common, job: 123456, state: 'aborted', reason: 'no room\nat \u001b[31mall', vms: [] },
  ])
  t.equal(
    text,
    [
      'JOB     RUN  USER   IMAGE  STATE      BEGAN                NODE  VM      HOSTNAME   ADDRESS    VM-STATE',
      '7       1    alice  tiny   committed  2026-01-31 12:00:00  n1    j7r1v0  tiny-0001  10.77.0.2  running',
      '7       1    alice  tiny   committed  2026-01-31 12:00:00  n2    j7r1v1  tiny-0001  10.77.0.2  running',
      '123456  1    alice  tiny   aborted    2026-01-31 12:00:00',
      '    no room',
      '    at ?[31mall',
      '',
    ].join('\n'),
  )
  t.equal(renderRuns([]), 'no runs\n')
})

t.test(
  "an account of the passwd file is found without the name service, and others' names are not mistaken",
  async (t) => {
    const passwd = join(t.testdir({}), 'passwd')
    writeFileSync(passwd, 'slurmdbd:x:7:7::/:\nslurm:x:64030:64030::/:\nbad:x:y:1::/:\n')
    t.equal(await uidOf('slurm', passwd), 64030)
    t.equal(await uidOf('root', passwd), 0, 'from the name service')
    await t.rejects(uidOf('bad-and-unknown', passwd), { code: 'command-failed' })
  },
)

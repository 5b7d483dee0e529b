// `vmrm exec` without a cluster: which job and VM a name means, and which srun it becomes. The real one: test/jobs/interactive.test.ts.
import t from 'tap'
import { exec } from '../../lib/command/exec.ts'
import { chooseVm, type FoundVm } from '../../lib/command/find-vm.ts'
import { stepOf } from '../../lib/command/step.ts'
import { chooseJob, findJob, parseNamedJobs } from '../../lib/slurm/find-job.ts'

const lines = ['12|12|2001|RUNNING|alice', '14|13_1|2001|RUNNING|alice', '13|13_2|2001|PENDING|alice', 'rubbish|x', '']

t.test('squeue names jobs, array tasks and components', async (t) => {
  const jobs = parseNamedJobs(lines.join('\n'))
  t.same(jobs[1], { id: 14, name: '13_1', uid: 2001, user: 'alice', state: 'RUNNING' })
  t.equal(jobs.length, 3)
  const [plain, first, second] = jobs
  t.equal(chooseJob('12', jobs.slice(0, 1)), plain)
  t.equal(chooseJob('13_1', jobs.slice(1, 2)), first)
  t.equal(chooseJob('14', jobs.slice(1)), first, "a task's own number")
  t.throws(() => chooseJob('13', jobs.slice(1)), {
    code: 'request-invalid',
    message: /array of 2 tasks.*such as 13_[12]/,
  })
  t.equal(second?.state, 'PENDING')
  const components = parseNamedJobs('20|20+0|1|RUNNING|a\n21|20+1|1|RUNNING|a')
  t.equal(chooseJob('20', components).id, 20, 'the first component')
  t.equal(chooseJob('20+1', components).id, 21)
  t.throws(() => chooseJob('9', []), { code: 'job-unknown', message: 'there is no job 9 that you may see' })
  for (const name of ['', '0', 'x', '1;2', '-1', '1_', '1_2_3', '1 2', '../1'])
    await t.rejects(findJob(name, { commands: '/nowhere', config: '/nowhere' }), { code: 'request-invalid' }, name)
})

type Run = Parameters<typeof chooseVm>[1][number]
const run: Run = {
  ...{ job: 7, restart: 0, user: 'alice', image: 'tiny', state: 'committed', began: '2026-01-31T12:00:00.000Z' },
  vms: [
    { name: 'j7r0v0', hostname: 'tiny-0001', node: 'n1', state: 'running' },
    { name: 'j7r0v1', hostname: 'tiny-0002', node: 'n1', state: 'running' },
    { name: 'j7r0v2', hostname: 'tiny-0003', node: 'n2', state: 'running' },
    { name: 'j7r0v3', hostname: 'tiny-0004', node: 'n2', state: 'running' },
  ],
}

t.test('a VM is found by its number in the newest run, and every reason for none has its sentence', async (t) => {
  t.same(chooseVm('7', [run], 3), {
    ...{ restart: 0, name: 'j7r0v3', index: 3, position: 1, hostname: 'tiny-0004', node: 'n2' },
  })
  const newer: Run = { ...run, restart: 1, state: 'preparing', vms: [] }
  const cases: [readonly Run[], number, string, RegExp][] = [
    [[run], 4, 'vm-unknown', /^job 7 has no VM 4: it has 4 VMs, numbers 0 to 3$/],
    [[{ ...run, vms: run.vms.slice(0, 1) }], 1, 'vm-unknown', /it has one VM, number 0$/],
    [[newer, run], 0, 'vms-not-ready', /^the VMs of job 7 are not ready yet$/],
    [[], 0, 'job-without-vms', /^job 7 has no VMs$/],
    [[{ ...run, state: 'lost', reason: 'it died' }], 0, 'job-without-vms', /gone \(lost\): it died$/],
  ]
  for (const [runs, index, code, message] of cases) t.throws(() => chooseVm('7', runs, index), { code, message })
})

t.test(
  "srun gets the command as data, the VM's place on its node, and nothing of an allocation around it",
  async (t) => {
    const vm = {
      config: { slurm: { commands: '/opt/slurm/bin', config: '/opt/slurm.conf' } },
      job: { id: 7, name: '7', uid: 2001, user: 'alice', state: 'RUNNING' },
      ...chooseVm('7', [run], 3),
    } as FoundVm
    const environment = {
      PATH: '/bin',
      SLURM_NTASKS: '9',
      SRUN_DEBUG: '3',
      VMRM_IMAGE: 'x',
      HOME: '/h',
      GONE: undefined,
    }
    const step = stepOf({ vm, command: ['sh', '-c', 'echo "$1"; $(id)'], io: 'streams', environment })
    t.same(step.argv.slice(2, 9), [
      ...['/opt/slurm/bin/srun', '--jobid=7', '--overlap', '--nodes=1', '--ntasks=1', '--nodelist=n2', '--mpi=none'],
    ])
    t.same(step.argv.slice(9), ['--unbuffered', '--', 'sh', '-c', 'echo "$1"; $(id)'])
    t.same(step.environment, {
      ...{ PATH: '/bin', HOME: '/h', SLURM_CONF: '/opt/slurm.conf', SLURM_JOB_ID: '7', VMRM_EXEC_VM: '1' },
    })
    const as = { name: 'alice', uid: 2001, gid: 2002, gecos: '', home: '/home/alice', shell: '/bin/bash', groups: [] }
    const root = stepOf({ vm, command: ['id'], io: 'terminal', as, environment: { ...environment, TERM: 'xterm' } })
    t.match(
      root.argv.join(' '),
      /setpriv --reuid=2001 --regid=2002 --init-groups -- \/opt\/slurm\/bin\/srun .* --pty --chdir=\/home\/alice -- id$/,
    )
    t.match(root.environment, { HOME: '/home/alice', USER: 'alice', TERM: 'xterm' })
    t.notMatch(root.environment.PATH, /sbin/, "root's own environment stays out")
  },
)

t.test('what it does not understand is told before anything is asked', async (t) => {
  const cases = [
    [],
    ['1', 'hostname'],
    ['1', '--'],
    ['--vm', 'x', '1'],
    ['--vm', '-1', '1'],
    ['--pty', '--no-pty', '1'],
  ]
  for (const args of cases) await t.rejects(exec.run(args), { name: 'UsageError' }, args.join(' '))
})

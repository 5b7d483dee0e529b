import t from 'tap'
import { parseControllerJob, parseHookJob, parseVmRequest } from '../../lib/slurm/hook-environment.ts'

const job = { SLURM_JOB_ID: '12', SLURM_JOB_UID: '2001', SLURM_JOB_GID: '2001', SLURM_JOB_USER: 'alice' }

t.test("Slurm's part is typed", async (t) => {
  t.same(parseHookJob({ ...job, SLURM_JOB_RESTART_COUNT: '2' }), {
    job: 12,
    restart: 2,
    uid: 2001,
    gid: 2001,
    user: 'alice',
  })
  const controller = parseControllerJob({ ...job, SLURM_JOB_NODELIST: 'n[1-2]', SLURM_JOB_ACCOUNT: 'phys' })
  t.match(controller, { nodes: 'n[1-2]', account: 'phys', selector: '12', restart: 0 })
  const task = parseControllerJob({
    ...job,
    SLURM_JOB_NODELIST: 'n1',
    SLURM_ARRAY_JOB_ID: '10',
    SLURM_ARRAY_TASK_ID: '3',
  })
  t.equal(task.selector, '10_3')
})

t.test('a missing or wrong variable of Slurm is an error, not a guess', async (t) => {
  for (const wrong of [
    { SLURM_JOB_ID: '' },
    { SLURM_JOB_ID: '0' },
    { SLURM_JOB_UID: '-1' },
    { SLURM_JOB_USER: undefined },
  ]) {
    t.throws(() => parseHookJob({ ...job, ...wrong }), { code: 'message-invalid' }, JSON.stringify(wrong))
  }
})

t.test("the user's part is typed", async (t) => {
  t.same(parseVmRequest({ SPANK_VMRM_IMAGE: 'tiny' }), { image: 'tiny', perNode: 1, script: 'guest' })
  t.same(parseVmRequest({ SPANK_VMRM_IMAGE: 'deb-12@r1', SPANK_VMRM_PER_NODE: '3', SPANK_VMRM_SCRIPT: 'host' }), {
    image: 'deb-12',
    revision: 'r1',
    perNode: 3,
    script: 'host',
  })
})

t.test('hostile values of the user are a user error', async (t) => {
  const hostile = [
    '',
    ' ',
    'a b',
    '$(reboot)',
    '../../etc/passwd',
    'x;y',
    'a\nb',
    'A',
    `${'a'.repeat(64)}`,
    'a@b@c',
    'a@',
    'none\0',
  ]
  for (const image of [...hostile, 'a\uffff', 'a\u009b31m', 'a\ud800', 'a\u{1f600}\u202e'])
    t.throws(
      () => parseVmRequest({ SPANK_VMRM_IMAGE: image }),
      // A character that the protocol cannot carry would make the refusal the node's fault.
      { code: 'request-invalid', message: /^[ -~]+$/ },
      JSON.stringify(image),
    )
  for (const perNode of ['0', '-1', '257', '1e3', '']) {
    t.throws(() => parseVmRequest({ SPANK_VMRM_IMAGE: 'tiny', SPANK_VMRM_PER_NODE: perNode }), {
      code: 'request-invalid',
    })
  }
  t.throws(() => parseVmRequest({ SPANK_VMRM_IMAGE: 'tiny', SPANK_VMRM_SCRIPT: 'both' }), { code: 'request-invalid' })
})

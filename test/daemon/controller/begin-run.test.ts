import t from 'tap'
import { createBeginRun } from '../../../lib/daemon/controller/begin-run.ts'
import type { JobRequest } from '../../../lib/daemon/controller/planning/planner.ts'
import type { Transactions } from '../../../lib/daemon/controller/transaction/transaction.ts'
import { VmrmError } from '../../../lib/errors/vmrm-error.ts'
import { silentLog } from '../../../lib/log.ts'
import { createFakeSlurm } from '../../fakes/slurm.ts'

const unnamed: JobRequest = {
  ...{ job: 7, restart: 0, uid: 2001, gid: 2001, user: 'alice', account: '', nodes: 'n[1-2]', selector: '7' },
}
const named: JobRequest = { ...unnamed, request: { image: 'tiny', perNode: 1, script: 'guest' } }

function setUp() {
  const slurm = createFakeSlurm()
  const done: string[] = []
  const down = new Map<string, number>()
  const transactions = {
    async begin({ job, request, refusal }: JobRequest) {
      done.push(`begin ${job} ${request?.image ?? refusal}`)
    },
    async notExpected(_run: JobRequest, nodes: readonly string[]) {
      done.push(`not expected by ${nodes}`)
    },
  } as unknown as Transactions
  const nodes = {
    verdict: async () => {},
    prepareBatch: async () => {},
    async expectRun(node: string, _run: unknown, script: string) {
      const left = down.get(node) ?? 0
      down.set(node, left - 1)
      if (left > 0) throw new VmrmError('daemon-unreachable', 'no answer')
      done.push(`expect ${node} ${script}`)
    },
    async destroyRun(node: string) {
      done.push(`destroy ${node}`)
    },
  }
  let ms = 0
  const now = () => (ms += 100)
  return {
    slurm,
    done,
    down,
    begin: createBeginRun({ transactions, slurm, nodes, log: silentLog, expectMs: 300, now }),
  }
}

t.test('a job that named its image needs nobody to be told', async (t) => {
  const { begin, done } = setUp()
  t.equal(await begin(named), 'begun')
  t.same(done, ['begin 7 tiny'])
})

t.test('a job without a decision is plain, and nothing happens', async (t) => {
  const { begin, done, slurm } = setUp()
  t.equal(await begin(unnamed), 'plain')
  slurm.comments.set(7, 'a text of the site; vmrm-image=tiny')
  t.equal(await begin(unnamed), 'plain')
  t.same(done, [])
  slurm.state = 'down'
  await t.rejects(begin(unnamed), { code: 'command-failed' }, 'if nobody knows, that is no answer')
})

t.test('a decision is as good as an option, once every node knows', async (t) => {
  const { begin, done, slurm, down } = setUp()
  slurm.comments.set(7, 'vmrm-image=tiny vmrm-script=host')
  down.set('n2', 1)
  t.equal(await begin(unnamed), 'begun')
  t.same(done, ['begin 7 tiny', 'expect n1 host', 'expect n2 host'], 'a daemon that is back in time is waited for')
})

t.test('a decision that cannot be read is a refusal that the tasks print, and no plain job', async (t) => {
  const { begin, done, slurm } = setUp()
  slurm.comments.set(7, 'vmrm-image=../x')
  t.equal(await begin(unnamed), 'begun')
  t.match(done[0], /begin 7 VMRM_IMAGE has a value that cannot be used/)
  t.same(done.slice(1), ['expect n1 guest', 'expect n2 guest'])
})

t.test('a node that cannot be told keeps the job from starting anywhere', async (t) => {
  const { begin, done, slurm, down } = setUp()
  slurm.comments.set(7, 'vmrm-image=tiny')
  down.set('n2', 1000)
  t.equal(await begin(unnamed), 'again')
  t.same(done, ['begin 7 tiny', 'expect n1 guest', 'not expected by n2', 'destroy n1'])
})

// A node that dies while it makes VMs of a job and of a batch, with its daemons and all it runs: none of them is left, whoever asked
// reads one reason, and when the node is back it removes what is on its disk and takes jobs. A job that ran there has ended, one that
// runs elsewhere has not noticed. Of a batch that was there its VMs are lost.
import t from 'tap'
import { type Batch, create, destroy, find, inVm, made } from '../batches/batch-commands.ts'
import { hostNamed } from '../cluster/layout.ts'
import { jobFields } from '../support/batch.ts'
import { withTimeouts } from '../support/daemon-faults.ts'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { compareLedgers, takeLedger } from '../support/leaks.ts'
import { readLeases } from '../support/leases.ts'
import { until } from '../support/until.ts'
import { holdAt, makeHoldable } from './held-steps.ts'

const boundMs = 240_000
const lookEveryMs = 300
const script = '#!/bin/sh\nsrun -l hostname\necho ran\n'
const untilStop = `#!/bin/sh
id=$(cat /proc/sys/kernel/random/boot_id)
echo "begin $id"
while ! test -e stop; do sleep 1; done
echo "end $id"
`

/** A job in a VM on one node, which runs until it is told to stop; when it runs. */
async function startOn(jobs: Jobs, node: string): Promise<number> {
  const job = await jobs.submit(untilStop, { arguments: ['-w', node, '--vm-image=tiny', '--mem=300', '--no-requeue'] })
  await jobs.awaitOutput(job, 'begin ', boundMs)
  return job
}

t.test('a node that dies while VMs are made takes nobody along, and runs the job when it is back', (t) =>
  withJobs(t, 'node-dies', async (jobs) => {
    const { cluster } = jobs
    const { layout } = cluster
    makeHoldable(layout)
    await withTimeouts(cluster, 'lost-node-seconds="3" reconcile-seconds="2"', async () => {
      const empty = await takeLedger(layout)
      const standing = made(await create(cluster, 'standing', '--nodes=n[1-2]'))
      const [there, elsewhere] = await Promise.all([startOn(jobs, 'n1'), startOn(jobs, 'n2')])
      const before = await takeLedger(layout)
      const leftOn = async (node: string, since = before) =>
        compareLedgers(since, await takeLedger(layout)).filter((line) => line.startsWith(`${node} `))
      const statesOf = async () => (await find(cluster, 'standing'))?.vms.map(({ state }) => state).join()

      const ofBatch = holdAt(layout, 'n1', 'start.resumed', 'any')
      const creation = create(cluster, 'dying', '--nodes=n[1-2]')
      const isEnded = async () => (await find(cluster, 'dying'))?.state === 'ended'
      t.ok(await ofBatch.reached(isEnded, boundMs), "the batch's QEMU runs")
      const leases = async () => (await readLeases(hostNamed(layout, 'ctl'))).length
      const job = await jobs.submit(script, { arguments: ['-N2', '--vm-image=tiny', '--mem=300', '--hold'] })
      const hold = holdAt(layout, 'n1', 'start.resumed', `j${job}r0`)
      await cluster.run(['scontrol', 'release', String(job)])
      const isOver = async () => {
        const state = (await jobFields(cluster, job)).get('JobState') ?? ''
        return /^(PENDING|CONFIGURING|RUNNING)$/.test(state) ? undefined : state
      }
      t.ok(await hold.reached(isOver, boundMs), 'its QEMU runs')
      await cluster.crash('n1')
      for (const each of [hold, ofBatch]) each.release()

      const reason = async () => (await jobFields(cluster, job)).get('AdminComment')
      const told = await until('the reason', reason, boundMs, lookEveryMs)
      t.match(told, /^vmrm: the vmrmd of node n1 has gone and not come back *$/)
      await until('the other node without VMs', async () => (await leftOn('n2')).length === 0, boundMs, lookEveryMs)
      t.equal(jobs.output(job), '', 'nothing of it ran')
      const dying = (await find(cluster, 'dying')) as Batch
      // Slurm has found out by now: the node is down when it comes back.
      t.match((await jobs.ended(there, boundMs)).fields, { JobState: 'NODE_FAIL', Restarts: '0' }, 'who ran there')
      for (const run of [`j${job}r0`, `b${dying.batch}r0`, `j${there}r0`])
        t.ok(
          (await readLeases(hostNamed(layout, 'ctl'))).some((lease) => lease.endsWith(` ${run}`)),
          `nobody gets addresses of ${run} before the dead node has confirmed`,
        )
      t.equal(await statesOf(), 'unknown,running')

      await cluster.up()
      const { fields, output } = await jobs.ended(job, boundMs)
      t.match(fields, { JobState: 'COMPLETED', Restarts: '1' }, 'the node takes jobs again')
      t.equal(output.match(/^\d: tiny-\d{4}$/gm)?.length, 2, output)
      t.match(output, /^ran$/m)

      t.match(await creation, {
        exitCode: 71,
        stderr:
          /^vmrm: batch b\d+ \(dying\) has no VMs: the vmrmd of node n1 has gone and not come back(; waiting until its nodes have removed what they began)?\n$/,
      })
      await until('the loss is known', async () => (await statesOf()) === 'lost,running', boundMs, lookEveryMs)
      t.equal((await inVm(cluster, standing, 1, 'exit 7')).exitCode, 7, 'the VM of the other node goes on')
      await cluster.run(['touch', 'stop'], { user: 'alice' })
      const other = await jobs.ended(elsewhere, boundMs)
      t.match(other.fields, { JobState: 'COMPLETED', Restarts: '0' }, 'a job of the other node goes on')
      t.match(other.output, /^begin (\S+)\nend \1\n$/, 'in the same VM')
      t.notMatch(jobs.output(there), /^end /m, 'the one that was lost does not')
      await destroy(t, cluster, 'standing')
      const isClean = async () => (await leftOn('n1', empty)).length === 0 && (await leases()) === 0
      await until('the state from before', isClean, boundMs, lookEveryMs).catch(() => {}) // what is left is the answer
      t.same(await leftOn('n1', empty), [], 'what was on its disk is gone')
      t.equal(await leases(), 0)
    })
  }),
)

// A node that dies while it makes a job's VMs, with its daemons and all it runs: none of them is left, the user reads one
// reason, and when the node is back it removes what is on its disk and takes jobs.
import t from 'tap'
import { hostNamed } from '../cluster/layout.ts'
import { jobFields } from '../support/batch.ts'
import { withTimeouts } from '../support/daemon-faults.ts'
import { withJobs } from '../support/job-cluster.ts'
import { compareLedgers, takeLedger } from '../support/leaks.ts'
import { readLeases } from '../support/leases.ts'
import { until } from '../support/until.ts'
import { holdAt, makeHoldable } from './held-steps.ts'

const boundMs = 240_000
const lookEveryMs = 300
const script = '#!/bin/sh\nsrun -l hostname\necho ran\n'

t.test('a node that dies while VMs are made takes nobody along, and runs the job when it is back', (t) =>
  withJobs(t, 'node-dies', async (jobs) => {
    const { cluster } = jobs
    const { layout } = cluster
    makeHoldable(layout)
    await withTimeouts(cluster, 'lost-node-seconds="3" reconcile-seconds="2"', async () => {
      const before = await takeLedger(layout)
      const leftOn = async (node: string) =>
        compareLedgers(before, await takeLedger(layout)).filter((line) => line.startsWith(`${node} `))
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
      hold.release()

      const reason = async () => (await jobFields(cluster, job)).get('AdminComment')
      const told = await until('the reason', reason, boundMs, lookEveryMs)
      t.match(told, /^vmrm: the vmrmd of node n1 has gone and not come back *$/)
      await until('the other node without VMs', async () => (await leftOn('n2')).length === 0, boundMs, lookEveryMs)
      t.equal(jobs.output(job), '', 'nothing of it ran')
      t.ok((await leases()) > 0, 'nobody gets its addresses before the dead node has confirmed')

      await cluster.up()
      const { fields, output } = await jobs.ended(job, boundMs)
      t.match(fields, { JobState: 'COMPLETED', Restarts: '1' }, 'the node takes jobs again')
      t.equal(output.match(/^\d: tiny-\d{4}$/gm)?.length, 2, output)
      t.match(output, /^ran$/m)
      const isClean = async () => (await leftOn('n1')).length === 0 && (await leases()) === 0
      await until('the state from before', isClean, boundMs, lookEveryMs).catch(() => {}) // what is left is the answer
      t.same(await leftOn('n1'), [], 'what was on its disk is gone')
      t.equal(await leases(), 0)
    })
  }),
)

// The hooks at the end of jobs cannot be started, or are taken out of slurm.conf: the reconcilers alone clean up after every
// kind of end of a job.
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { logPath } from '../cluster/daemons.ts'
import { controllerName, hostNamed } from '../cluster/layout.ts'
import type { Cluster } from '../support/cluster.ts'
import { withTimeouts } from '../support/daemon-faults.ts'
import { withJobs } from '../support/job-cluster.ts'
import { compareLedgers, takeLedger } from '../support/leaks.ts'
import { until } from '../support/until.ts'

const boundMs = 180_000

/** slurm.conf, without the hooks at the end of a job. `again`: `cluster up` has put them back. */
async function withoutEpilogs(cluster: Cluster, work: (again: () => Promise<void>) => Promise<void>): Promise<void> {
  const path = join(cluster.layout.folder, 'etc-slurm/slurm.conf.vmrm')
  const text = readFileSync(path, 'utf8')
  const apply = async (changed = text.replace(/^Epilog.*$/gm, '')) => {
    writeFileSync(path, changed)
    const { exitCode, stderr } = await cluster.run(['scontrol', 'reconfigure'])
    if (exitCode !== 0) throw new Error(stderr)
  }
  await apply()
  try {
    const shown = (await cluster.run(['scontrol', 'show', 'config'])).stdout
    t.match(shown, /^Epilog += \(null\)$/m)
    t.match(shown, /^EpilogSlurmctld += \(null\)$/m)
    await work(apply)
  } finally {
    await apply(text)
  }
}

/** slurm.conf names the hooks and the gate is there, but one hook may not be run and the other has gone. */
async function withHooksBroken<T>(cluster: Cluster, work: () => Promise<T>): Promise<T> {
  const folder = join(cluster.layout.folder, 'usr-lib-vmrm')
  const hooks = ['vmrm-epilog', 'vmrm-epilog-slurmctld'].map((name) => join(folder, name))
  for (const hook of hooks) renameSync(hook, `${hook}.away`)
  writeFileSync(hooks[0] ?? '', '', { mode: 0 })
  try {
    return await work()
  } finally {
    rmSync(hooks[0] ?? '')
    for (const hook of hooks) renameSync(`${hook}.away`, hook)
  }
}

t.test('without any hook at the end of jobs nothing is left of them', (t) =>
  withJobs(t, 'without-epilogs', async (jobs) => {
    const { cluster } = jobs
    const controllerLog = () => readFileSync(logPath(hostNamed(cluster.layout, controllerName), 'vmrmd'), 'utf8')
    await withTimeouts(cluster, 'remove-seconds="3" reconcile-seconds="1"', async () => {
      const before = await takeLedger(cluster.layout)
      // What is left of it goes while the next ones run.
      const broken = await withHooksBroken(cluster, () =>
        jobs.run('#!/bin/sh\necho ran\n', { arguments: ['--vm-image=tiny', '--mem=300'] }),
      )
      t.match(broken, { fields: { JobState: 'COMPLETED' }, output: 'ran\n' })
      await withoutEpilogs(cluster, async (again) => {
        const submit = (script: string, ...more: string[]) =>
          jobs.submit(`#!/bin/sh\necho runs\n${script}`, { arguments: ['--vm-image=tiny', '--mem=300', ...more] })
        const forever = 'while true; do sleep 1; done'
        const [normal, cancelled, late, requeued, preempted, lost] = await Promise.all([
          submit('exit 0', '-w', 'n1'),
          submit(forever, '-w', 'n1'),
          submit(forever, '-w', 'n1', '--time=1'),
          submit('test -n "$SLURM_RESTART_COUNT" || while true; do sleep 1; done', '-w', 'n1', '--open-mode=append'),
          submit(forever, '-w', 'n1', '--no-requeue', '--partition=low', '--gres=fake:8'),
          submit(forever, '-w', 'n2', '--no-requeue'),
        ])
        const all = [normal, cancelled, late, requeued, preempted, lost]
        for (const job of all) await jobs.awaitOutput(job, 'runs')
        await cluster.run(['scancel', String(cancelled)])
        await cluster.run(['scontrol', 'requeue', String(requeued)])
        await cluster.crash('n2')
        // What a job of another partition needs is the preempted one's.
        const taker = jobs.alice(['srun', '--quiet', '-w', 'n1', '--gres=fake:8', '--mem=50', 'true'])
        const states = await Promise.all(all.map(async (job) => (await jobs.ended(job)).fields.JobState))
        t.same(states, ['COMPLETED', 'CANCELLED', 'TIMEOUT', 'COMPLETED', 'PREEMPTED', 'NODE_FAIL'])
        t.match(await taker, { exitCode: 0, stderr: '' }, 'who took its place has run')
        t.match(jobs.output(requeued), /^runs\n.*\nruns\n$/s, 'the first run did not hold up the second')
        await cluster.up()
        await again()
        let left: string[] = ['not looked yet']
        const isClean = async () => {
          left = compareLedgers(before, await takeLedger(cluster.layout))
          return left.length === 0
        }
        await until('everything is gone', isClean, boundMs).catch(() => t.same(left, []))
        const log = controllerLog()
        for (const job of [broken.id, normal, cancelled, late, preempted, lost]) {
          t.match(log, new RegExp(` run\\.orphaned run=j${job}r0 `), `no hook told of the end of job ${job}`)
          // A node that comes back may ask by itself.
          if (job === lost) continue
          t.match(log, new RegExp(` run\\.destroyed run=j${job}r0 node=n`), 'and its node was told to remove it')
        }
      })
    })
    await cluster.waitUntilIdle()
  }),
)

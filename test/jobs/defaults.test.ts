// Jobs that name no image and run in VMs all the same, by partition, account or user, and jobs from slurmrestd that name one
// in their environment. Whatever is down when such a job starts, it waits for its VMs and never runs outside them.
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hostNamed } from '../cluster/layout.ts'
import { ended, jobFields, jobOutput, nodeStates, submit, trySubmit } from '../support/batch.ts'
import { type Cluster, withCluster } from '../support/cluster.ts'
import { crashDaemon, withTimeouts } from '../support/daemon-faults.ts'
import { withDefaults } from '../support/default-images.ts'
import { submitByRest } from '../support/rest.ts'
import { until } from '../support/until.ts'

const boundMs = 150_000
const guest = /^tiny-\d{4}$/m
const low = ['--partition=low', '--mem=300']
const defaults = `<defaults><partition name="low" image="tiny"/>
  <account name="physics" image="tiny" script="host" opt-out="true"/><user name="bob" image="tiny"/></defaults>`

function markersOf(cluster: Cluster): readonly string[] {
  const hosts = cluster.nodes.map((node) => join(hostNamed(cluster.layout, node).folder, 'run/vmrm/jobs'))
  return hosts.flatMap((folder) => readdirSync(folder))
}

/** Waits until Slurm has put the job back into the queue so many times. */
async function untilRequeued(cluster: Cluster, id: number, times: number): Promise<void> {
  const isBack = async () => {
    const fields = await jobFields(cluster, id)
    return fields.get('JobState') === 'PENDING' && Number(fields.get('Restarts')) >= times
  }
  await until(`job ${id} is back in the queue`, isBack, boundMs)
}

t.test('a job gets the image of its user, account or partition, and keeps it over a requeue', async (t) => {
  await withCluster(t, async (cluster) => {
    await withDefaults(cluster, defaults, async () => {
      const script = `hostname; echo run \${SLURM_RESTART_COUNT:-0}; echo image $SLURM_SPANK_VMRM_IMAGE
        while [ -z "$SLURM_RESTART_COUNT" ]; do sleep 0.2; done`
      const requeued = await submit(cluster, script, { arguments: low })
      const byAccount = await submit(cluster, 'hostname; srun --mem=300 hostname', {
        arguments: ['--account=Physics', '--mem=300'],
      })
      const fields = { current_working_directory: '/home/alice', memory_per_node: 300 }
      const named = await submitByRest(cluster, 'hostname; echo image $SLURM_SPANK_VMRM_IMAGE', {
        ...{ ...fields, partition: 'main', standard_output: '/home/alice/job-%j.out' },
        environment: { PATH: '/usr/bin:/bin', VMRM_IMAGE: 'tiny', VMRM_SCRIPT: 'guest' },
      })
      const byRest = await submitByRest(cluster, 'hostname', {
        ...{ ...fields, partition: 'low', standard_output: '/home/alice/job-%j.out' },
        environment: { PATH: '/usr/bin:/bin' },
      })

      const refused: readonly (readonly [readonly string[], RegExp])[] = [
        [['--partition=low', '--vm-image=none'], /partition low runs its jobs in VMs only: --vm-image=none is not/],
        [['--partition=low', '--mem=5900'], /a VM of the job would have \d+ MiB, and image tiny allows 4096/],
      ]
      for (const [argv, sentence] of refused)
        t.match(await trySubmit(cluster, 'true', { arguments: argv }), { exitCode: 1, stderr: sentence })
      for (const [image, sentence] of [
        ['nosuch', /vmrm: there is no image nosuch on this cluster/],
        ['none', /vmrm: partition low runs its jobs in VMs only/],
      ] as const) {
        const environment = { PATH: '/usr/bin:/bin', VMRM_IMAGE: image }
        const answer = await submitByRest(cluster, 'true', { ...fields, partition: 'low', environment })
        t.match(answer, { jobId: undefined, log: sentence }, `REST: ${image}`)
      }

      const forged = { ...fields, partition: 'main', environment: { PATH: '/usr/bin:/bin' } }
      const answer = await submitByRest(cluster, 'true', { ...forged, admin_comment: 'vmrm-image=tiny-hang' })
      t.equal(answer.jobId, undefined, 'a user decides nothing in AdminComment')

      // Interactive ones; a user's default, and two nodes of which both must know.
      const srun = cluster.run(['srun', '--quiet', '--mem=300', 'hostname'], { user: 'bob', timeoutMs: boundMs })
      const salloc = cluster.run(['salloc', '--quiet', ...low, '-N2', 'srun', '--quiet', 'hostname'], {
        ...{ user: 'alice', timeoutMs: boundMs },
      })
      await until('the first run', async () => /image tiny/.test(await jobOutput(cluster, requeued)), boundMs)
      await cluster.run(['scontrol', 'requeue', String(requeued)])
      const optedOut = ['srun', '--quiet', '--account=physics', '--vm-image=none', 'hostname']
      t.match((await cluster.run(optedOut, { user: 'alice', timeoutMs: boundMs })).stdout, /^n[12]$/m)
      t.match((await cluster.run(['srun', '--quiet', 'hostname'], { user: 'alice' })).stdout, /^n[12]$/m, 'plain')

      t.match(await srun, { exitCode: 0, stdout: guest })
      const both = await salloc
      t.match(both, { exitCode: 0 }, both.stderr)
      t.equal(both.stdout.match(/^tiny-\d{4}$/gm)?.length, 2)
      for (const id of [named.jobId, byRest.jobId]) {
        const job = await ended(cluster, id ?? 0, { timeoutMs: boundMs })
        t.match(job, { state: 'COMPLETED', output: guest }, job.output)
      }
      t.match(await jobOutput(cluster, named.jobId ?? 0), /image tiny/)
      const account = await ended(cluster, byAccount, { timeoutMs: boundMs })
      t.match(account.output, /^n[12]\ntiny-\d{4}\n$/, 'the script on the host, its step in the VM')
      const job = await ended(cluster, requeued, { timeoutMs: boundMs })
      t.match(job, { state: 'COMPLETED', restarts: 1, adminComment: /^vmrm-image=tiny/ })
      t.match(job.output, /^tiny-\d{4}\nrun 0\nimage tiny\n(.*\n)*tiny-\d{4}\nrun 1\nimage tiny\n$/)
      await cluster.waitUntilIdle()
      await until('no marker is left', () => markersOf(cluster).length === 0)
    })
  })
})

t.test('with a daemon down or vmrm switched off such a job waits, and a plain one does not', async (t) => {
  await withCluster(t, async (cluster) => {
    await withTimeouts(cluster, 'node-daemon-seconds="3" controller-daemon-seconds="3"', async () => {
      await withDefaults(cluster, defaults, async () => {
        const offSwitch = join(hostNamed(cluster.layout, 'ctl').folder, 'etc/vmrm/off')
        const plain = async (when: string) => {
          const found = await cluster.run(['srun', '--quiet', 'hostname'], { user: 'alice' })
          t.match(found, { exitCode: 0, stdout: /^n[12]$/m }, `a plain job, ${when}`)
        }
        try {
          writeFileSync(offSwitch, '')
          const id = await submit(cluster, 'hostname', { arguments: low })
          await untilRequeued(cluster, id, 1)
          await plain('switched off')
          const waiting = await cluster.run(['srun', '--quiet', ...low, 'hostname'], { user: 'alice' })
          t.match(waiting, { stdout: '', stderr: /^srun: error: / }, 'srun cannot be requeued, and runs nothing')
          t.not(waiting.exitCode, 0)
          await crashDaemon(cluster, 'ctl', 'vmrmd')
          rmSync(offSwitch)
          await untilRequeued(cluster, id, 2)
          await plain("without the controller's vmrmd")
          t.equal(await jobOutput(cluster, id), '', 'nothing ran')
          t.same(await nodeStates(cluster), ['n1 idle', 'n2 idle'])
          await cluster.daemon('start', 'ctl', 'vmrmd')
          t.match(await ended(cluster, id, { timeoutMs: boundMs }), { state: 'COMPLETED', output: guest })

          await cluster.daemon('stop', 'n1', 'vmrmd')
          const onBoth = await submit(cluster, 'hostname', { arguments: [...low, '-N2'] })
          await untilRequeued(cluster, onBoth, 1)
          t.match((await nodeStates(cluster))[0], /^n1 drain\w* vmrm: the vmrmd of node n1 does not answer/)
          t.same(markersOf(cluster), [], 'the node that was told has forgotten it')
          await cluster.daemon('start', 'n1', 'vmrmd')
          const job = await ended(cluster, onBoth, { timeoutMs: boundMs })
          t.match(job, { state: 'COMPLETED', output: guest }, job.output)
          t.match(job.adminComment, /^vmrm-image=tiny vmrm: the vmrmd of node n1 does not answer/)
        } finally {
          rmSync(offSwitch, { force: true })
          await cluster.up()
        }
      })
    })
  })
})

// Jobs that name no image and run in VMs all the same, by partition, account or user, and jobs from slurmrestd that name one
// in their environment. Whatever is down when such a job starts, it waits for its VMs and never runs outside them.
import { readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hostNamed } from '../cluster/layout.ts'
import { type EndedJob, ended, jobFields, jobOutput, nodeStates, submit, trySubmit } from '../support/batch.ts'
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

const rules = '<submission requeue="required" open-mode="append"/>'

/** In a VM by default: jobs with VMs of their own, whose script only this VM has. Each part begins with its title in brackets. */
const nested = `title() { echo; echo "[$1]"; }
cat >/tmp/inner.sh <<'END'
#!/bin/sh
hostname; ls /tmp/inner.sh 2>&1; echo "image $SLURM_SPANK_VMRM_IMAGE"
END
title outer; hostname
out=/home/alice/nested-$SLURM_JOB_ID
common='--wait --open-mode=append --mem=300'
sbatch $common --output=$out.named --vm-image=tiny /tmp/inner.sh >/dev/null &
sbatch $common --output=$out.default --partition=low /tmp/inner.sh >/dev/null &
wait
title named; cat $out.named
title default; cat $out.default
title salloc; salloc --quiet --vm-image=tiny -n1 --mem=300 sh -c 'hostname; srun hostname'
title srun; env -u SLURM_JOB_ID -u SLURM_JOBID srun --quiet --vm-image=tiny -n1 --mem=300 hostname`

function partsOf(output: string): Record<string, readonly string[]> {
  const parts = output.split(/^\[/m).map((part) => part.trim().split('\n'))
  return Object.fromEntries(parts.map(([title = '', ...lines]) => [title.replace(']', ''), lines]))
}

/** Each of them had a VM of its own. */
function checkNested(t: Test, job: EndedJob): void {
  const { outer = [], named = [], default: byDefault = [], salloc = [], srun = [] } = partsOf(job.output)
  t.equal(job.state, 'COMPLETED', job.output)
  t.match(named[1], /No such file/, "the VM of the script's caller is another")
  t.same(named.slice(1), byDefault.slice(1))
  t.equal(named[2], 'image tiny')
  t.equal(salloc[0], outer[0], "salloc's command runs where it was typed")
  const hosts = [outer[0], named[0], byDefault[0], salloc[1], srun[0]]
  for (const host of hosts) t.match(host, guest)
  for (const host of hosts.slice(1)) t.not(host, outer[0])
}

function markersOf(cluster: Cluster): readonly string[] {
  const hosts = cluster.nodes.map((node) => join(hostNamed(cluster.layout, node).folder, 'run/vmrm/jobs'))
  return hosts.flatMap((folder) => readdirSync(folder))
}

/** What an administrator may ask of VM jobs; plain ones are held to nothing. */
async function checkHabits(t: Test, cluster: Cluster): Promise<void> {
  const script = { current_working_directory: '/home/alice', environment: { PATH: '/usr/bin:/bin' } }
  await withDefaults(cluster, rules, async () => {
    const mayNot = /vmrm: jobs in VMs must be ones that Slurm may requeue on this cluster: leave --no-requeue out/
    const mustAppend = /vmrm: jobs in VMs must append to their output on this cluster: add --open-mode=append/
    for (const asked of [low, ['--vm-image=tiny', '--mem=300']])
      for (const [option, sentence] of [
        ['--no-requeue', mayNot],
        ['--open-mode=truncate', mustAppend],
      ] as const) {
        const found = await trySubmit(cluster, 'true', { arguments: [...asked, option] })
        t.match(found, { exitCode: 1, stdout: /^$/, stderr: sentence }, `${asked[0]} ${option}`)
      }
    // slurmrestd (22.05) takes `"requeue": false` for true.
    for (const [fields, sentence] of [
      [{ open_mode: 'append', no_requeue: true }, mayNot],
      [{}, mustAppend],
    ] as const) {
      const answer = await submitByRest(cluster, 'true', { ...script, partition: 'low', ...fields })
      t.match(answer, { jobId: undefined, log: sentence }, `REST: ${JSON.stringify(fields)}`)
    }
    const held = [
      await submit(cluster, 'true', { arguments: ['--hold', ...low] }),
      await submit(cluster, 'true', { arguments: ['--hold', '--no-requeue', '--open-mode=truncate'] }),
    ]
    await cluster.run(['scancel', ...held.map(String)])
  })
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
      await checkHabits(t, cluster)
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
      const byRest = await submitByRest(cluster, nested, {
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
      const other = await ended(cluster, named.jobId ?? 0, { timeoutMs: boundMs })
      t.match(other, { state: 'COMPLETED', output: guest }, other.output)
      checkNested(t, await ended(cluster, byRest.jobId ?? 0, { timeoutMs: 3 * boundMs }))
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

// The controller's vmrmd is killed at each moment of a job. Running jobs do not notice; a job that needs it waits or fails
// within a bound, with the sentence in its own output; no node drains.
import t from 'tap'
import { ended, jobOutput, jobState, nodesAtRest, submit, trySubmit } from '../support/batch.ts'
import { type Cluster, withCluster } from '../support/cluster.ts'
import { crashDaemon, withTimeouts } from '../support/daemon-faults.ts'
import { until } from '../support/until.ts'

const boundMs = 150_000
const options = { arguments: ['--vm-image=tiny', '--mem=300'] }

async function vmsOf(cluster: Cluster, id: number): Promise<number> {
  const lists = await Promise.all(cluster.nodes.map((node) => cluster.run(['virsh', 'list', '--name'], { node })))
  return lists.filter(({ stdout }) => stdout.includes(`j${id}r0v`)).length
}

t.test("the controller's daemon may be down at any moment of a job", async (t) => {
  await withCluster(t, async (cluster) => {
    await withTimeouts(cluster, 'controller-seconds="5" controller-daemon-seconds="5"', async () => {
      try {
        // Counts for as long as the rest of this test may take, and says if it was held up.
        const script = 'i=0; while ! test -e stop; do i=$((i+1)); echo $i; sleep 1; done; echo last $i; exit 7'
        await cluster.run(['rm', '-f', 'stop'], { user: 'alice' })
        const running = await submit(cluster, script, options)
        await until('the first job runs', async () => /^2$/m.test(await jobOutput(cluster, running)), boundMs)

        await crashDaemon(cluster, 'ctl', 'vmrmd')
        const submitted = await trySubmit(cluster, 'echo ran', options)
        t.equal(submitted.exitCode, 0, 'a job can be submitted while it is down')
        t.match(submitted.stderr, /warning: the image could not be checked .* when the job starts/)
        const waiting = Number(submitted.stdout)
        await until('its PrologSlurmctld', async () => (await jobState(cluster, waiting)) !== 'PENDING', boundMs)
        await cluster.daemon('start', 'ctl', 'vmrmd')
        t.match(await ended(cluster, waiting, { timeoutMs: boundMs }), { state: 'COMPLETED', output: 'ran\n' })

        const halfMade = await submit(cluster, 'echo ran', options)
        await until('its VM exists', async () => (await vmsOf(cluster, halfMade)) === 1, boundMs)
        await crashDaemon(cluster, 'ctl', 'vmrmd')
        await cluster.daemon('start', 'ctl', 'vmrmd')
        const aborted = await ended(cluster, halfMade, { timeoutMs: boundMs })
        t.match(aborted, { state: 'FAILED', output: /^vmrm: the controller's vmrmd was restarted before the VMs/ })
        t.match(aborted.adminComment, /was restarted/)

        await crashDaemon(cluster, 'ctl', 'vmrmd')
        const given = Number((await trySubmit(cluster, 'echo ran', options)).stdout)
        const failed = await ended(cluster, given, { timeoutMs: boundMs })
        t.match(failed, { state: 'FAILED', exitCode: '1:0', output: /^vmrm: .*controller/ })
        t.match(failed.output, /submit again/, 'and what to do about it')

        await cluster.run(['touch', 'stop'], { user: 'alice' })
        const last = await ended(cluster, running, { timeoutMs: boundMs })
        t.match(last, { state: 'FAILED', exitCode: '7:0' }, 'a job that runs does not notice, even at its end')
        const lines = last.output.trimEnd().split('\n')
        t.same(
          lines.slice(0, -1),
          Array.from({ length: lines.length - 1 }, (_, i) => String(i + 1)),
          'no line is lost',
        )
        t.equal(lines.at(-1), `last ${lines.length - 1}`)
        t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
      } finally {
        await cluster.run(['touch', 'stop'], { user: 'alice' })
        await cluster.up()
      }
      await cluster.run(['rm', '-f', 'stop'], { user: 'alice' })
    })
  })
})

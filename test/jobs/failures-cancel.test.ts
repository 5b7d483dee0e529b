// scancel at any moment of a job's life: within KillWait + 15 s nothing of it is left anywhere.
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { findDaemon } from '../cluster/daemons.ts'
import { hostNamed } from '../cluster/layout.ts'
import { signalProcess } from '../cluster/procfs.ts'
import { isOver, jobState, nodesAtRest, submit } from '../support/batch.ts'
import { type Cluster, withCluster } from '../support/cluster.ts'
import { createRandom } from '../support/random.ts'
import { until } from '../support/until.ts'

/** KillWait of the test cluster is 5 s. */
const goneMs = 20_000

/** Cancels and returns how long it took until the job is over and no node has anything of it, in ms. */
async function cancelled(cluster: Cluster, id: number): Promise<number> {
  const beganMs = performance.now()
  await cluster.run(['scancel', String(id)])
  const look = `virsh list --name | grep '^j${id}r'; ls /var/lib/vmrm/runs /run/vmrm/jobs | grep -x -e 'j${id}r.*' -e ${id}; true`
  await until(
    `nothing left of job ${id}`,
    async () => {
      if (!isOver(await jobState(cluster, id))) return false
      const found = await Promise.all(cluster.nodes.map((node) => cluster.run(['sh', '-c', look], { node })))
      return found.every(({ stdout }) => stdout === '')
    },
    2 * goneMs,
  )
  return performance.now() - beganMs
}

t.test('a job can be cancelled at any moment', async (t) => {
  await withCluster(t, async (cluster) => {
    const random = createRandom()
    t.comment(`VMRM_TEST_SEED=${random.seed}`)
    const moments = [0, 200, 500, 1000, 2000, 3000, 5000].map((ms, at) => ({
      afterMs: ms + random.int(200),
      nodes: 1 + (at % 2),
    }))
    const results = await Promise.all(
      moments.map(async ({ afterMs, nodes }) => {
        const options = ['--vm-image=tiny', '--mem=300', `--nodes=${nodes}`, '--ntasks-per-node=1']
        const id = await submit(cluster, 'trap "" TERM; sleep 600 & wait; sleep 600', { arguments: options })
        // Not a wait for something: the moment itself is what is tried.
        await delay(afterMs)
        const state = await jobState(cluster, id)
        return { afterMs, nodes, state, tookMs: Math.round(await cancelled(cluster, id)) }
      }),
    )
    for (const { afterMs, nodes, state, tookMs } of results) {
      t.ok(tookMs < goneMs, `${nodes} nodes, ${afterMs} ms after sbatch (${state}): gone after ${tookMs} ms`)
    }
    t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
  })
})

t.test('a job can be cancelled while PrologSlurmctld waits', async (t) => {
  await withCluster(t, async (cluster) => {
    const daemon = findDaemon(hostNamed(cluster.layout, 'ctl'), 'vmrmd')
    if (daemon === undefined) throw new Error('the controller has no vmrmd')
    // A daemon that hangs keeps the hook waiting.
    signalProcess(daemon, 'SIGSTOP')
    let tookMs = Number.POSITIVE_INFINITY
    try {
      const options = ['--vm-image=tiny', '--mem=300', '--nodes=2', '--ntasks-per-node=1']
      const id = await submit(cluster, 'sleep 600', { arguments: options })
      await until('its PrologSlurmctld', async () => (await jobState(cluster, id)) === 'CONFIGURING', 30_000)
      await cluster.run(['scancel', String(id)])
      signalProcess(daemon, 'SIGCONT')
      tookMs = await cancelled(cluster, id)
    } finally {
      signalProcess(daemon, 'SIGCONT')
    }
    t.ok(tookMs < goneMs, `gone after ${Math.round(tookMs)} ms`)
    t.same(await nodesAtRest(cluster), ['n1 idle', 'n2 idle'])
  })
})

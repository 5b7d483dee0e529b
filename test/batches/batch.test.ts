// VMs without a job, through the real cluster: made whole or not at all whoever is killed, somebody of their own, found again
// after a loss of the ledger, and gone without a trace when they are destroyed.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { hostNamed } from '../cluster/layout.ts'
import { holdAt, makeHoldable } from '../crash/held-steps.ts'
import { kill } from '../crash/victims.ts'
import type { Cluster, Finished } from '../support/cluster.ts'
import { crashDaemon, withTimeouts } from '../support/daemon-faults.ts'
import { type Jobs, withJobs } from '../support/job-cluster.ts'
import { takeLedger } from '../support/leaks.ts'
import { withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'
import { type Batch, boundMs, create, destroy, domains, find, inVm, lookEveryMs, made } from './batch-commands.ts'
import { cross } from './crossing.ts'
import { attachConsole, copyFiles } from './into-vms.ts'
import { batchScenarios } from './kill-points.ts'
import { killThroughout } from './kill-throughout.ts'

t.setTimeout(900_000)

const timeouts =
  'prepare-seconds="250" reconcile-seconds="2" controller-seconds="60" node-daemon-seconds="120" lost-node-seconds="120"'

/** One line each; a VM that is reached refuses a connection to a port where nobody listens. */
const whoAmI = (others: readonly string[]) => `
hostname; cat /etc/machine-id; cat /sys/class/net/[!l]*/address; cat /proc/sys/kernel/random/boot_id; id -un
for other in ${others.join(' ')}; do
  for round in {1..20}; do
    { exec 3<>"/dev/tcp/$other/9"; } 2>&1 | grep -q refused && echo "$other" && break
  done
done
exit 3`

async function identities(t: Test, cluster: Cluster, batch: Batch): Promise<readonly string[]> {
  const names = batch.vms.map(({ hostname }) => hostname)
  const said = await Promise.all(names.map((_, index) => inVm(cluster, batch, index, whoAmI(names))))
  const lines = said.map(({ stdout }) => stdout.trim().split('\n'))
  t.same(
    lines.map(([hostname]) => hostname),
    names,
    said.map(({ stderr }) => stderr).join(''),
  )
  for (const fact of [1, 2, 3]) t.equal(new Set(lines.map((each) => each[fact])).size, names.length, `fact ${fact}`)
  for (const each of lines) t.same(each.slice(4), ['alice', ...names], 'its user is who was named, and it reaches all')
  t.same(new Set(said.map(({ exitCode }) => exitCode)), new Set([3]), 'exit codes come through')
  return lines.map((each) => each[3] ?? '')
}

async function ask(t: Test, { cluster, alice }: Jobs, batch: Batch): Promise<void> {
  const size = ['--nodes=n[1-2]', '--vm-per-node=2']
  t.same(made(await create(cluster, 'first', ...size)), batch, 'asked for again it is the same')
  const other = await create(cluster, 'first', ...size, '--cpus=2')
  t.equal(other.exitCode, 65)
  t.match(other.stderr, `vmrm: batch b${batch.batch} has the name first and was asked for in another way`)
  for (const argv of [
    ['create', 'tiny', '--memory=200'],
    ['destroy', 'first'],
  ]) {
    const refused = await alice(['vmrm', ...argv])
    t.equal(refused.exitCode, 65)
    t.match(refused.stderr, /^vmrm: only root and SlurmUser may make and remove VMs without a job\n/)
  }
  t.match((await alice(['vmrm', 'ps'])).stdout, `b${batch.batch} `, 'the owner sees it')
  t.equal((await cluster.run(['vmrm', 'ps'], { user: 'bob' })).stdout, 'no runs\n', 'nobody else does')
  const bobs = await cluster.run(['vmrm', 'exec', `b${batch.batch}`, '--', 'true'], { user: 'bob', node: 'n1' })
  t.match(bobs.stderr, /there is no batch b\d+ that you may see/)
}

async function lostLedger(t: Test, cluster: Cluster, batch: Batch, boots: readonly string[]): Promise<void> {
  await crashDaemon(cluster, 'n1', 'vmrmd')
  await crashDaemon(cluster, 'ctl', 'vmrmd')
  rmSync(join(hostNamed(cluster.layout, 'ctl').folder, 'var/lib/vmrm/controller'), { recursive: true })
  for (const host of ['ctl', 'n1']) await cluster.daemon('start', host, 'vmrmd')
  const found = await until(
    'the batch is known again',
    async () => {
      const run = await find(cluster, 'first')
      return run?.vms.every(({ state }) => state === 'running') ? run : undefined
    },
    boundMs,
    lookEveryMs,
  )
  t.match(found, { batch: batch.batch, state: 'committed', user: 'alice', vms: [...batch.vms] })
  t.same(await identities(t, cluster, batch), boots, 'its VMs have not noticed')
  const again = made(await create(cluster, 'first', '--nodes=n[1-2]', '--vm-per-node=2'))
  t.equal(again.batch, batch.batch, 'asked for again it is still the same')
}

/** What is destroyed is in no journal any more, and its number must not be another's. */
async function newLedger(t: Test, cluster: Cluster, before: Batch): Promise<void> {
  await crashDaemon(cluster, 'ctl', 'vmrmd')
  rmSync(join(hostNamed(cluster.layout, 'ctl').folder, 'var/lib/vmrm/controller'), { recursive: true })
  await cluster.daemon('start', 'ctl', 'vmrmd')
  let said: Finished | undefined
  // A controller that has heard of no node yet refuses.
  const make = async () => {
    said = await create(cluster, 'first', '--nodes=n[1-2]')
    return said.exitCode === 0 || /has no VMs/.test(said.stderr)
  }
  await until('a batch is begun', make, boundMs, lookEveryMs)
  t.equal(said?.exitCode, 0, said?.stderr ?? '')
  const next = made(said as Finished)
  t.ok(next.batch > before.batch, 'its number is new')
  await destroy(t, cluster, `b${next.batch}`)
}

async function lostVm(t: Test, cluster: Cluster, batch: Batch): Promise<void> {
  const { layout } = cluster
  await kill('qemu', { layout, host: 'n1', subject: `b${batch.batch}r0v1`, pid: 0 })
  const torn = await until(
    'the loss is known',
    async () => {
      const run = await find(cluster, 'first')
      return run?.state === 'lost' ? run : undefined
    },
    boundMs,
    lookEveryMs,
  )
  t.match(torn.reason, new RegExp(`^VM b${batch.batch}r0v1 on node n1 is gone: `))
  t.same(
    torn.vms.map(({ state }) => state),
    ['running', 'lost', 'running', 'running'],
  )
  t.equal((await inVm(cluster, batch, 0, 'exit 7')).exitCode, 7, 'its neighbour goes on')
  t.match((await inVm(cluster, batch, 1, 'true')).stderr, /VM 1 of batch b\d+ is gone/)
}

/** An administrator says that n1 is gone, whose VMs run: they are not taken up again when it comes back. */
async function forgetNode(t: Test, cluster: Cluster, batch: Batch): Promise<void> {
  await crashDaemon(cluster, 'n1', 'vmrmd')
  const forgotten = await cluster.run(['vmrm', 'node', 'forget', 'n1'])
  t.match(forgotten, { exitCode: 0, stdout: 'n1: forgotten, 1 run had VMs there\n', stderr: '' })
  const torn = await find(cluster, 'first')
  t.same(
    torn?.vms.map(({ state }) => state),
    ['lost', 'lost', 'running', 'running'],
  )
  t.match(torn?.reason, new RegExp(`^VM b${batch.batch}r0v1 on node n1 is gone: [^;]*$`), 'the first reason stays')
  await cluster.daemon('start', 'n1', 'vmrmd')
  const isGone = async () => (await domains(cluster)).length === 2
  await until('its VMs are removed', isGone, boundMs, lookEveryMs)
  t.equal((await inVm(cluster, batch, 2, 'exit 7')).exitCode, 7, 'those of the other node go on')
  t.match(await find(cluster, 'first'), { state: 'lost' })
}

/** A batch of guests that boot, with one of n2's VMs killed as it begins. */
async function killOne(cluster: Cluster, name: string, ...options: string[]): Promise<Finished & { subject: string }> {
  const { layout } = cluster
  const size = ['--nodes=n[1-2]', '--vm-per-node=2', '--memory=200', '--user=alice']
  const hold = holdAt(layout, 'n2', 'start.created', 'any')
  const creation = cluster.run(['vmrm', 'create', 'boots', ...size, `--name=${name}`, ...options], {
    timeoutMs: boundMs,
  })
  const { subject } = (await hold.reached(async () => false, boundMs)) ?? { subject: '' }
  await kill('qemu', { layout, host: 'n2', subject, pid: 0 })
  hold.release()
  return { ...(await creation), subject }
}

t.test('a batch of VMs is made, used, found again and destroyed', (t) =>
  withJobs(t, 'batches', async (jobs) => {
    const { cluster } = jobs
    makeHoldable(cluster.layout)
    await withTimeouts(cluster, timeouts, async () => {
      const batch = made(await create(cluster, 'first', '--nodes=n[1-2]', '--vm-per-node=2'))
      t.match(batch, { name: 'first', state: 'committed', user: 'alice' })
      t.same(
        batch.vms.map(({ name, node, state }) => [name, node, state]),
        [0, 1, 2, 3].map((index) => [`b${batch.batch}r0v${index}`, index < 2 ? 'n1' : 'n2', 'running']),
      )
      t.same(
        await domains(cluster),
        batch.vms.map(({ name }) => name),
      )
      const boots = await identities(t, cluster, batch)
      await ask(t, jobs, batch)
      await copyFiles(t, jobs, batch)
      await attachConsole(t, jobs, batch)
      await cross(t, jobs, batch)
      await lostLedger(t, cluster, batch, boots)
      await lostVm(t, cluster, batch)
      await forgetNode(t, cluster, batch)
      await destroy(t, cluster, 'first')
      t.same(await domains(cluster), [])
      await destroy(t, cluster, 'first', `b${batch.batch}`)
      t.match((await create(cluster, 'first', '--nodes=n[1-2]', '--vm-per-node=2')).stderr, /has no VMs/)

      await newLedger(t, cluster, batch)
      const before = await takeLedger(cluster.layout)
      for (const scenario of batchScenarios) await killThroughout(t, { cluster, before }, scenario)

      // Without a template, which would be made first, a VM that fails has failed.
      const boot = { name: 'boots', changes: [[/<template use="auto"/, '<template use="never"']] as const }
      await withImages(cluster, [boot], async () => {
        const { exitCode, stderr, subject } = await killOne(cluster, 'torn')
        t.not(exitCode, 0)
        t.match(stderr, new RegExp(`^vmrm: batch b\\d+ \\(torn\\) has no VMs: .*${subject}.*\\n$`), 'one reason')
        t.same(await domains(cluster), [])
        const some = made(await killOne(cluster, 'some', '--vm-strategy=best-effort', '--json'))
        t.match(some, { state: 'committed', reason: /^1 of 4 VMs did not come up: / })
        t.same(some.vms.map(({ state }) => state).sort(), ['missing', 'running', 'running', 'running'])
        await destroy(t, cluster, 'some')
      })
    })
  }),
)

// What every crash test plays on: a cluster of four nodes whose processes can be held, short waiting times, and a bystander
// with a VM on each node that nobody may touch.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type EndedJob, ended, jobOutput, submit } from '../support/batch.ts'
import type { Cluster } from '../support/cluster.ts'
import { type Ledger, takeLedger } from '../support/leaks.ts'
import { type TestImage, withImages } from '../support/test-images.ts'
import { until } from '../support/until.ts'
import { makeHoldable } from './held-steps.ts'
import { type Lane, vmMib } from './scenario.ts'

export const lanes: readonly Lane[] = [
  ['n1', 'n2'],
  ['n3', 'n4'],
]

const timeouts =
  '<timeouts prepare-seconds="600" reconcile-seconds="2" remove-seconds="10" controller-seconds="10" node-daemon-seconds="300"/>'
const boundMs = 180_000
/** On a busy machine many guests boot at once. */
const patience = [/timeout-seconds="\d+"/, 'timeout-seconds="400"'] as const
const withoutTemplate = [/<template use="auto"/, '<template use="never"'] as const
/** Beside `tiny`, of which this machine often has a template. A clone that fails boots instead; of the other two, a VM that fails has failed. */
export const images: readonly TestImage[] = [
  { name: 'crash', changes: [patience] },
  { name: 'crash-boot', changes: [patience, withoutTemplate] },
  // Its guests find nothing to boot and wait, which costs no CPU: for VMs that are to fail before any has booted.
  { name: 'crash-idle', changes: [[/<boot .*\/>/, '<boot kind="firmware" timeout-seconds="400"/>'], withoutTemplate] },
]

/** Processes that can be held, and short waiting times. */
export async function makeStage(cluster: Cluster): Promise<void> {
  const { layout } = cluster
  makeHoldable(layout)
  const tiny = join(layout.folder, 'images.d/tiny.xml')
  writeFileSync(tiny, readFileSync(tiny, 'utf8').replace(...patience))
  for (const host of layout.hosts) {
    const path = join(host.folder, 'etc/vmrm/vmrmd.xml')
    writeFileSync(path, readFileSync(path, 'utf8').replace('</vmrmd>', `${timeouts}</vmrmd>`))
  }
  await Promise.all(layout.hosts.map((host) => cluster.daemon('restart', host.name, 'vmrmd')))
}

export async function withStage(
  t: Test,
  cluster: Cluster,
  work: (stage: { before: Ledger }) => Promise<void>,
): Promise<void> {
  await makeStage(cluster)
  await withImages(cluster, images, async () => {
    t.same(await withBystander(cluster, (before) => work({ before })), [], 'the bystander has run to its end')
  })
}

/** Runs `work` beside a job with a VM on each node; returns what became of that job if it was not let be. */
export async function withBystander(
  cluster: Cluster,
  work: (before: Ledger) => Promise<void>,
): Promise<readonly string[]> {
  const bystander = await startBystander(cluster)
  let job: EndedJob | undefined
  try {
    await work(await takeLedger(cluster.layout))
  } finally {
    await cluster.run(['touch', 'stop'], { user: 'alice' })
    job = await ended(cluster, bystander, { timeoutMs: boundMs })
  }
  const { state, restarts, output } = job
  const [started = [], finished = []] = ['begin', 'end'].map((word) =>
    output.split('\n').flatMap((line) => (line.includes(` ${word} `) ? [line.replace(word, '')] : [])),
  )
  const isTheSame = started.length === 4 && finished.toSorted().join() === started.toSorted().join()
  return state === 'COMPLETED' && restarts === 0 && isTheSame ? [] : [`${state}, ${restarts} restarts: ${output}`]
}

async function startBystander(cluster: Cluster): Promise<number> {
  await cluster.run(['rm', '-f', 'stop'], { user: 'alice' })
  const id = '$(cat /proc/sys/kernel/random/boot_id)'
  // Each look costs an emulated guest a process.
  const script = `srun -l sh -c 'echo begin ${id}; while ! test -e stop; do sleep 4; done; echo end ${id}'`
  const options = ['--nodes=4', '--vm-image=tiny', `--mem=${vmMib}`, '--job-name=bystander', '--time=60']
  const job = await submit(cluster, script, { arguments: options })
  await until(
    'the bystander in its four VMs',
    async () => (await jobOutput(cluster, job)).split(' begin ').length === 5,
    boundMs,
    200,
  )
  return job
}

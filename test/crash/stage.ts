// What every crash test plays on: a cluster of four nodes whose processes can be held, short waiting times, and a bystander
// with a VM on each node that nobody may touch.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { logPath } from '../cluster/daemons.ts'
import type { Layout } from '../cluster/layout.ts'
import { ended, jobOutput, submit } from '../support/batch.ts'
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
/** The promise, which half of all recoveries keep on the busiest machine: there, too, they take well below one second. */
const promisedMs = 5000
/** One alone may meet a libvirtd that does not answer (5 s), or wait for a CPU. */
const longestMs = 15_000

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
  await withImages(cluster, images, () => withBystander(t, cluster, work))
}

async function withBystander(
  t: Test,
  cluster: Cluster,
  work: (stage: { before: Ledger }) => Promise<void>,
): Promise<void> {
  const { layout } = cluster
  const bystander = await startBystander(cluster)
  try {
    await work({ before: await takeLedger(layout) })
  } finally {
    await cluster.run(['touch', 'stop'], { user: 'alice' })
    const job = await ended(cluster, bystander, { timeoutMs: boundMs })
    t.match(job, { state: 'COMPLETED', restarts: 0 }, 'the bystander has run to its end')
    const [started, finished] = ['begin', 'end'].map((word) =>
      job.output.split('\n').flatMap((line) => (line.includes(` ${word} `) ? [line.replace(word, '')] : [])),
    )
    t.equal(started?.length, 4, job.output)
    t.same(finished?.toSorted(), started?.toSorted(), 'in the same four VMs')
  }
  const { half, longest, text } = recoveries(layout)
  t.ok(half <= promisedMs && longest <= longestMs, text)
  t.comment(text)
}

/** Of all that daemons have logged on this cluster: what half of them took at most, the longest, and what took that so long. */
export function recoveries({ hosts }: Layout): {
  readonly half: number
  readonly longest: number
  readonly text: string
} {
  const all = hosts.flatMap((host) => {
    const log = readFileSync(logPath(host, 'vmrmd'), 'utf8')
    return [...log.matchAll(/ daemon\.recovered (.*\bms=(\d+).*)$/gm)].map(([, line = '', ms]) => ({
      ms: Number(ms),
      text: `${host.name} ${line}`,
    }))
  })
  const sorted = all.toSorted((a, b) => a.ms - b.ms)
  const { ms: half } = sorted[Math.ceil(sorted.length / 2) - 1] ?? { ms: 0 }
  const { ms: longest, text } = sorted.at(-1) ?? { ms: 0, text: 'none' }
  return { half, longest, text: `${all.length} recoveries, half of them within ${half} ms, the longest: ${text}` }
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

// The benchmark `clone`: N VMs cloned by a job through vmrm, beside QEMU alone, boots and a plain script, all in one run on a
// cluster of its own.
import { join } from 'node:path'
import { defaultConfigPath, loadDaemonConfig, openCatalogue } from '../../lib/config/load.ts'
import { hostNamed } from '../cluster/layout.ts'
import { runningHosts } from '../cluster/namespaces.ts'
import type { Cluster } from '../support/cluster.ts'
import { withImages } from '../support/test-images.ts'
import { measureParts } from './bench-cluster.ts'
import { type ClonesOfN, figuresOf, middle } from './clone-figures.ts'
import { type JobOfMany, node, runPlainJob, runVmJob, user, type VmJobRun } from './clone-job.ts'
import { Limit, type LimitRun } from './clone-limit.ts'
import { accountOf } from './first-instruction.ts'
import { exportHome } from './hand-run.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric } from './metric.ts'
import { runPlainScript, type ScriptRun } from './plain-script.ts'
import { warmAnew } from './warm-template.ts'

const memoryMib = 128
/** VMs that boot at the same time take each other's time: more than these say nothing new. */
const mostBoots = 10
const mostScripted = 3
/** A figure is the median of so many. */
const repeatsAtMost = 3
const atOnceTried = [2, 4, 8]
const debian = { memoryMib: 512, goalMs: 2000, many: 4 } as const
const cloned = 'bench-clone'
const booted = 'bench-boot'

export function benchClone(options: BenchOptions): Promise<readonly Metric[]> {
  const most = Math.max(...options.n, mostBoots)
  const shape = ['--nodes', '1', '--cpus', String(most), '--memory', String(most * 2 * debian.memoryMib)]
  return measureParts(
    [
      ['clones of tiny', (cluster) => withTinies(cluster, most, () => measureTiny(cluster, options))],
      ['clones of debian', (cluster) => measureDebian(cluster, options)],
    ],
    options,
    shape,
  )
}

/** Two images of the same master: one whose VMs are clones, one whose VMs boot. */
function withTinies<T>(cluster: Cluster, most: number, measure: () => Promise<T>): Promise<T> {
  const changes = [[/max-per-node="\d+"/, `max-per-node="${most}"`]] as const
  const never = [/<template use="auto"/, '<template use="never"'] as const
  const images = [
    { name: cloned, changes },
    { name: booted, changes: [...changes, never] },
  ]
  return withImages(cluster, images, measure)
}

interface Stage {
  readonly cluster: Cluster
  readonly options: BenchOptions
  readonly limit: Limit
  readonly overheadMib: number
  readonly script: ScriptRun
  /** By their number: jobs of more VMs are compared with the same boots. */
  readonly boots: Map<number, ClonesOfN['boots']>
}

async function measureTiny(cluster: Cluster, options: BenchOptions): Promise<readonly Metric[]> {
  const { say, signal } = options
  const host = hostNamed(cluster.layout, node)
  const config = loadDaemonConfig(join(host.folder, defaultConfigPath))
  const image = openCatalogue(cluster.layout.images).images().get('tiny')
  const running = runningHosts(cluster.layout).get(node)
  if (image === undefined || running === undefined) throw new Error(`no image tiny, or ${node} does not run`)
  const account = accountOf(user)
  const warmMs = await warmAnew(cluster, { image: cloned, node, memoryMib })
  const takeBack = await exportHome(cluster, node, account)
  let limit: Limit | undefined
  try {
    limit = await Limit.open({ ...{ image, config, account, memoryMib, signal }, node: running })
    say(`templates: vmrm's ${Math.round(warmMs)} ms, QEMU alone ${Math.round(limit.makeMs)} ms`)
    const made = judge({
      name: 'a template made ahead',
      unit: 's',
      value: warmMs / 1000,
      baseline: limit.makeMs / 1000,
    })
    const script = await runPlainScript({ ...{ cluster, node, image, account, memoryMib, signal } }, mostScripted)
    say(`the plain script: ${script.eachMs.map((ms) => `${Math.round(ms)} ms`).join(', ')} a VM`)
    const { overheadMib } = config.hypervisor
    const stage: Stage = { cluster, options, limit, overheadMib, script, boots: new Map() }
    const metrics = [made]
    for (const n of options.n) metrics.push(...figuresOf(await measureN(stage, n)))
    return metrics
  } finally {
    await limit?.close()
    await takeBack()
  }
}

async function measureN(stage: Stage, n: number): Promise<ClonesOfN> {
  const { cluster, options, limit } = stage
  const repeats = Math.min(options.runs, repeatsAtMost)
  const atOnce = await bestAtOnce(stage, n)
  const limits: LimitRun[] = []
  const plainMs: number[] = []
  const clones: VmJobRun[] = []
  // In turn: the machine's speed changes from minute to minute.
  while (clones.length < repeats) {
    options.signal.throwIfAborted()
    limits.push(await limit.run(n, atOnce))
    plainMs.push((await runPlainJob(cluster, jobOf(stage, n))).answeredMs)
    clones.push(await runVmJob(cluster, { ...jobOf(stage, n), image: cloned }))
    const shown = [limits.at(-1)?.answeredMs, plainMs.at(-1), clones.at(-1)?.answeredMs, clones.at(-1)?.preparedMs]
    const times = shown.map((ms) => `${Math.round(ms ?? 0)} ms`).join(', ')
    options.say(`${n}: QEMU alone (${atOnce} at once), plain Slurm, vmrm, of that the node: ${times}`)
  }
  return {
    ...{ n, atOnce, script: stage.script },
    limit: middle(limits, ({ answeredMs }) => answeredMs),
    plainMs: middle(plainMs, (ms) => ms),
    clones: middle(clones, ({ answeredMs }) => answeredMs),
    boots: await bootsFor(stage, n),
  }
}

function jobOf({ overheadMib, options }: Stage, n: number): JobOfMany {
  return { n, memoryMib: memoryMib + overheadMib, signal: options.signal }
}

async function bootsFor(stage: Stage, n: number): Promise<ClonesOfN['boots']> {
  const { cluster, options, boots } = stage
  const few = Math.min(n, mostBoots)
  const known = boots.get(few)
  if (known !== undefined) return known
  const plainMs = (await runPlainJob(cluster, jobOf(stage, few))).answeredMs
  const measured = { n: few, ...(await runVmJob(cluster, { ...jobOf(stage, few), image: booted })), plainMs }
  options.say(`${few} boots through vmrm: ${Math.round(measured.answeredMs)} ms`)
  boots.set(few, measured)
  return measured
}

/** The number at once that is the fastest. Its time does not count: the shortest of three is lucky. */
async function bestAtOnce({ limit, options }: Stage, n: number): Promise<number> {
  let best = { atOnce: 1, answeredMs: Number.POSITIVE_INFINITY }
  for (const atOnce of new Set(atOnceTried.map((each) => Math.min(each, n)))) {
    options.signal.throwIfAborted()
    const { answeredMs } = await limit.run(n, atOnce)
    options.say(`${n}: QEMU alone, ${atOnce} at once: ${Math.round(answeredMs)} ms`)
    if (answeredMs < best.answeredMs) best = { atOnce, answeredMs }
  }
  return best.atOnce
}

/** A real distribution, with what its boot costs paid ahead. */
async function measureDebian(cluster: Cluster, { say, signal }: BenchOptions): Promise<readonly Metric[]> {
  const host = hostNamed(cluster.layout, node)
  const { overheadMib } = loadDaemonConfig(join(host.folder, defaultConfigPath)).hypervisor
  const warmMs = await warmAnew(cluster, { image: 'debian', node, memoryMib: debian.memoryMib })
  say(`debian: a template in ${Math.round(warmMs)} ms`)
  const metrics = [judge({ name: 'debian: a template made ahead', unit: 's', value: warmMs / 1000 })]
  for (const n of [1, debian.many]) {
    const run = await runVmJob(cluster, { n, memoryMib: debian.memoryMib + overheadMib, signal, image: 'debian' })
    say(`debian: ${n} ready in ${Math.round(run.preparedMs)} ms, ${run.booted} by a boot`)
    metrics.push(
      judge({
        name: `debian: ${n} ready, each`,
        ...{ unit: 's', value: run.preparedMs / n / 1000, goal: { bound: 'at-most', value: debian.goalMs / 1000 } },
      }),
      judge({ name: `debian: memory of each of ${n} (PSS)`, unit: 'MB', value: run.pssMb / n }),
    )
  }
  return metrics
}

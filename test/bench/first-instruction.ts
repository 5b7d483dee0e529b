// (b) srun to the first instruction of the user's program: in a VM, without vmrm, and in a QEMU booted by hand, one after
// the other so that noise hits all alike. What counts is the first byte at the terminal: a guest's own clock knows nothing of its boot.
import { join } from 'node:path'
import { defaultConfigPath, loadDaemonConfig, openCatalogue } from '../../lib/config/load.ts'
import type { Account } from '../../lib/daemon/account.ts'
import { hostNamed } from '../cluster/layout.ts'
import { runningHosts } from '../cluster/namespaces.ts'
import { clusterUsers, sharedGroup } from '../cluster/users.ts'
import type { Cluster } from '../support/cluster.ts'
import { type Phases, readPhases } from '../support/phases.ts'
import { exportHome, type HandTiming, runByHand } from './hand-run.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'
import { timeCommand } from './timed-command.ts'

const imageName = 'tiny'
const user = 'alice'
const node = 'n1'
const goalOverMs = 500
const timeoutMs = 180_000
const jobMemoryMib = 500
/** The first thing it does is to say how long its kernel has been up. */
const program = ['cat', '/proc/uptime']

export function accountOf(name: string): Account {
  const uid = clusterUsers.find((each) => each.name === name)?.uid
  if (uid === undefined) throw new RangeError(`the cluster has no user ${name}`)
  const groups = [
    { name, gid: uid },
    { name: sharedGroup.name, gid: sharedGroup.gid },
  ]
  return { name, uid, gid: uid, gecos: '', home: `/home/${name}`, shell: '/bin/bash', groups }
}

interface Samples {
  readonly plainMs: number[]
  readonly vmMs: number[]
  readonly hand: HandTiming[]
  readonly phases: Phases[]
  readonly guestUptimeMs: number[]
}

async function sample(cluster: Cluster, { runs, say, signal }: BenchOptions): Promise<Samples> {
  const samples: Samples = { plainMs: [], vmMs: [], hand: [], phases: [], guestUptimeMs: [] }
  const account = accountOf(user)
  const image = openCatalogue(cluster.layout.images).images().get(imageName)
  const running = runningHosts(cluster.layout).get(node)
  if (image === undefined || running === undefined) throw new Error(`no image ${imageName}, or ${node} does not run`)
  const host = hostNamed(cluster.layout, node)
  const { overheadMib } = loadDaemonConfig(join(host.folder, defaultConfigPath)).hypervisor
  const srun = (...options: string[]) =>
    timeCommand(cluster, {
      argv: ['srun', `--nodelist=${node}`, `--mem=${jobMemoryMib}`, ...options, ...program],
      user,
      timeoutMs,
      signal,
    })
  for (let run = 0; run < runs; run++) {
    await cluster.waitUntilIdle(60_000)
    samples.plainMs.push((await srun()).firstByteMs)
    await cluster.waitUntilIdle(60_000)
    const vm = await srun(`--vm-image=${imageName}`)
    samples.vmMs.push(vm.firstByteMs)
    samples.guestUptimeMs.push(Number(vm.text.split(' ')[0]) * 1000)
    const phases = readPhases(join(host.log, 'vmrmd.log')).at(-1)
    if (phases !== undefined) samples.phases.push(phases)
    await cluster.waitUntilIdle(60_000)
    const hand = {
      image,
      account,
      memoryMib: jobMemoryMib - overheadMib,
      node: running,
      argv: program,
      timeoutMs,
      signal,
    }
    samples.hand.push(await runByHand(hand))
    const shown = [samples.plainMs.at(-1), samples.vmMs.at(-1), samples.hand.at(-1)?.firstByteMs]
    say(
      `first instruction ${run + 1}/${runs}: plain, VM, by hand: ${shown.map((ms) => `${Math.round(ms ?? 0)} ms`).join(', ')}`,
    )
  }
  return samples
}

export async function measureFirstInstruction(cluster: Cluster, options: BenchOptions): Promise<Metric[]> {
  const takeBack = await exportHome(cluster, node, accountOf(user))
  const samples = await sample(cluster, options).finally(takeBack)
  const plain = median(samples.plainMs)
  const hand = median(samples.hand.map((each) => each.firstByteMs))
  const information = (name: string, values: readonly number[]): Metric =>
    judge({ name, unit: 'ms', value: median(values) })
  const phase = (key: keyof Phases): number[] => samples.phases.map((phases) => phases[key])
  return [
    judge({
      ...{ name: 'srun to the first user instruction in a VM', unit: 'ms', value: median(samples.vmMs) },
      ...{ baseline: plain + hand, goal: { bound: 'at-most', value: plain + hand + goalOverMs } },
    }),
    information('first instruction: plain srun', samples.plainMs),
    information(
      'first instruction: QEMU by hand',
      samples.hand.map((each) => each.firstByteMs),
    ),
    information(
      'by hand: agent answers',
      samples.hand.map((each) => each.agentMs),
    ),
    information(
      'by hand: identity and home',
      samples.hand.map((each) => each.identityMs - each.agentMs),
    ),
    information(
      'by hand: the program',
      samples.hand.map((each) => each.firstByteMs - each.identityMs),
    ),
    information('VM: QEMU created', phase('createMs')),
    information('VM: agent answers', phase('bootMs')),
    information('VM: identity and home', phase('identityMs')),
    information('VM: whole Prolog', phase('preparedMs')),
    information("VM: the guest's own uptime then", samples.guestUptimeMs),
  ]
}

// (b) srun to the first instruction of the user's program: in a VM cloned from a template that is there, in one that boots,
// without vmrm, and in a QEMU booted by hand, one after the other so that noise hits all alike. What counts is the first byte at the terminal: a guest's own clock knows nothing of its boot.
import { join } from 'node:path'
import { defaultConfigPath, loadDaemonConfig, openCatalogue } from '../../lib/config/load.ts'
import type { Account } from '../../lib/daemon/account.ts'
import { hostNamed } from '../cluster/layout.ts'
import { runningHosts } from '../cluster/namespaces.ts'
import { clusterUsers, sharedGroup } from '../cluster/users.ts'
import type { Cluster } from '../support/cluster.ts'
import { type Phases, readPhases } from '../support/phases.ts'
import { type TestImage, withImages } from '../support/test-images.ts'
import { exportHome, type HandTiming, runByHand } from './hand-run.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'
import { timeCommand } from './timed-command.ts'
import { warm } from './warm-template.ts'

const imageName = 'tiny'
/** The same, without a template. */
const booted = 'bench-boot'
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
  readonly cloneMs: number[]
  readonly bootMs: number[]
  readonly hand: HandTiming[]
  readonly clonePhases: Phases[]
  readonly bootPhases: Phases[]
  readonly guestUptimeMs: number[]
}

async function sample(cluster: Cluster, { runs, say, signal }: BenchOptions): Promise<Samples> {
  const samples: Samples = {
    ...{ plainMs: [], cloneMs: [], bootMs: [], hand: [], clonePhases: [], bootPhases: [], guestUptimeMs: [] },
  }
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
  const newest = (how: 'clone' | 'boot'): Phases => {
    const phases = readPhases(join(host.log, 'vmrmd.log')).at(-1)
    if (phases?.how !== how) throw new Error(`a ${how} was wanted, but the VM came up by a ${phases?.how}`)
    return phases
  }
  await warm(cluster, { image: imageName, node, memoryMib: jobMemoryMib - overheadMib })
  for (let run = 0; run < runs; run++) {
    await cluster.waitUntilIdle(60_000)
    samples.plainMs.push((await srun()).firstByteMs)
    await cluster.waitUntilIdle(60_000)
    samples.cloneMs.push((await srun(`--vm-image=${imageName}`)).firstByteMs)
    samples.clonePhases.push(newest('clone'))
    await cluster.waitUntilIdle(60_000)
    const vm = await srun(`--vm-image=${booted}`)
    samples.bootMs.push(vm.firstByteMs)
    samples.guestUptimeMs.push(Number(vm.text.split(' ')[0]) * 1000)
    samples.bootPhases.push(newest('boot'))
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
    const shown = [
      samples.plainMs.at(-1),
      samples.cloneMs.at(-1),
      samples.bootMs.at(-1),
      samples.hand.at(-1)?.firstByteMs,
    ]
    say(
      `first instruction ${run + 1}/${runs}: plain, clone, boot, by hand: ${shown.map((ms) => `${Math.round(ms ?? 0)} ms`).join(', ')}`,
    )
  }
  return samples
}

export async function measureFirstInstruction(cluster: Cluster, options: BenchOptions): Promise<Metric[]> {
  const takeBack = await exportHome(cluster, node, accountOf(user))
  const never: TestImage = { name: booted, changes: [[/<template use="auto"/, '<template use="never"']] }
  const samples = await withImages(cluster, [never], () => sample(cluster, options)).finally(takeBack)
  const plain = median(samples.plainMs)
  const hand = median(samples.hand.map((each) => each.firstByteMs))
  const information = (name: string, values: readonly number[]): Metric =>
    judge({ name, unit: 'ms', value: median(values) })
  const part = (of: readonly Phases[]) => (key: keyof Phases) => of.map((phases) => phases[key])
  const [clone, boot] = [part(samples.clonePhases), part(samples.bootPhases)]
  return [
    judge({
      ...{ name: 'srun to the first user instruction in a cloned VM', unit: 'ms', value: median(samples.cloneMs) },
      ...{ baseline: plain, goal: { bound: 'at-most', value: plain + goalOverMs } },
    }),
    judge({
      ...{ name: 'srun to the first user instruction in a booted VM', unit: 'ms', value: median(samples.bootMs) },
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
    information('clone: QEMU created and loaded', clone('createMs')),
    information('clone: agent answers', clone('bootMs')),
    information('clone: identity and home', clone('identityMs')),
    information('clone: whole Prolog', clone('preparedMs')),
    information('boot: QEMU created', boot('createMs')),
    information('boot: agent answers', boot('bootMs')),
    information('boot: identity and home', boot('identityMs')),
    information('boot: whole Prolog', boot('preparedMs')),
    information("boot: the guest's own uptime then", samples.guestUptimeMs),
  ]
}

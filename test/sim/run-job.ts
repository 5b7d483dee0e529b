// One job of a simulation from PrologSlurmctld to the last node that has done what was decided, with its times.

import { machineMs, type SimulatedSite } from './controller.ts'
import type { Fleet } from './fleet.ts'
import type { NodeTask } from './fleet-worker.ts'
import type { NodeOutcome } from './simulated-node.ts'
import { makingMs, seeded } from './simulated-vms.ts'

export interface SimulatedRun {
  readonly vms: number
  readonly outcomes: readonly NodeOutcome[]
  /** From the hook's question until the last living node has the decision, and has removed its VMs if it is to give the run up. */
  readonly wallMs: number
  /** PrologSlurmctld alone: asked, planned, leased. */
  readonly plannedMs: number
  /** Of the node that decided last of those that committed, or of nobody. */
  readonly simulatedMs: number
  /** wallMs without simulatedMs. */
  readonly controlMs: number
  /** CPU time of the controller's vmrmd and of its munged; of the simulated nodes and of theirs. */
  readonly daemonMs: number
  readonly mungedMs: number
  readonly nodesMs: number
  /** CPU time of whatever else this machine did meanwhile. */
  readonly othersMs: number
}

export interface SimulatedFaults {
  /** How many nodes take longer, and how many times as long. */
  readonly slow?: { readonly nodes: number; readonly times: number }
  /** How many die while they make their VMs. */
  readonly dying?: number
}

const cpusPerNode = 32
const memoryMibPerNode = 64 * 1024
const clock = () => performance.timeOrigin + performance.now()

/** Runs `job` on the first `nodes` nodes. Times are those of this machine, where all nodes are played as well. */
export async function runJob(options: {
  site: SimulatedSite
  fleet: Fleet
  job: number
  nodes: number
  perNode: number
  seed: number
  faults?: SimulatedFaults
}): Promise<SimulatedRun> {
  const { site, fleet, job, nodes, perNode, faults = {} } = options
  const names = site.nodes.slice(0, nodes).map(({ name }) => name)
  const hostlist = nodes === 1 ? names[0] : `s[${names[0]?.slice(1)}-${names.at(-1)?.slice(1)}]`
  site.slurm.start({ job, nodes: hostlist ?? '', nodeCount: nodes, cpusPerNode, memoryMibPerNode })
  const owner = { uid: 0, gid: 0, user: 'root' }
  const request = { image: 'sim', perNode, script: 'guest' } as const
  const tasks = tasksOf({ names, perNode, seed: options.seed, faults })
  const before = { ...site.usage(), machineMs: machineMs(), ownMs: ownMs() }
  const beganMs = clock()
  await site.client.call('run-begin', {
    ...{ job, restart: 0, ...owner, account: '', partition: 'batch', nodes: hostlist ?? '', selector: String(job) },
    request,
  })
  const plannedMs = clock() - beganMs
  const { outcomes, cpuMs } = await fleet.run({ job, restart: 0, ...owner, script: 'guest' }, tasks)
  const after = { ...site.usage(), machineMs: machineMs(), ownMs: ownMs() }
  const live = outcomes.filter(({ state }) => state !== 'died')
  const wallMs = Math.max(...live.map(({ settledMs }) => settledMs)) - beganMs
  // The one whose report made the decision possible.
  const last = live.reduce((latest, each) => (each.madeMs > latest.madeMs ? each : latest))
  const simulatedMs = last.state === 'committed' ? last.simulatedMs : 0
  const spent = (of: Exclude<keyof typeof after, 'rssMib' | 'peakMib'>) => after[of] - before[of]
  const nodesMs = cpuMs + spent('nodesMungedMs')
  const simulationMs = spent('daemonMs') + spent('mungedMs') + nodesMs + spent('ownMs')
  return {
    ...{ vms: nodes * perNode, outcomes, wallMs, plannedMs, simulatedMs, controlMs: wallMs - simulatedMs },
    daemonMs: spent('daemonMs'),
    mungedMs: spent('mungedMs'),
    nodesMs,
    othersMs: Math.max(0, spent('machineMs') - simulationMs),
  }
}

const ownMs = () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The Epilogs and EpilogSlurmctld. */
export async function endJob(site: SimulatedSite, fleet: Fleet, job: number): Promise<void> {
  const run = { job, restart: 0 }
  await site.client.call('run-end', run)
  await fleet.end(run)
  site.slurm.end(job)
}

/** Slow nodes are the first, dying ones the last. */
function tasksOf(options: {
  names: readonly string[]
  perNode: number
  seed: number
  faults: SimulatedFaults
}): readonly NodeTask[] {
  const { names, perNode, faults } = options
  const random = seeded(options.seed)
  const { slow = { nodes: 0, times: 1 }, dying = 0 } = faults
  return names.map((node, at) => {
    const simulatedMs = makingMs(perNode, random) * (at < slow.nodes ? slow.times : 1)
    return at < names.length - dying ? { node, simulatedMs } : { node, simulatedMs, dieAfterMs: simulatedMs * random() }
  })
}

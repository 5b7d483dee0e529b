// The benchmark `scale`: how long the real controller needs for runs of many VMs on many simulated nodes, how that grows, and what
// becomes of a run when nodes are slow or die. A simulation but for the controller, the protocol and the credentials.
import { DatabaseSync } from 'node:sqlite'
import { type SimulatedSite, startSite } from '../sim/controller.ts'
import { type Fleet, startFleet } from '../sim/fleet.ts'
import { endJob, runJob, type SimulatedFaults, type SimulatedRun } from '../sim/run-job.ts'
import { until } from '../support/until.ts'
import { credentialsMs } from './credentials.ts'
import { exponentOf } from './fit.ts'
import type { BenchOptions } from './main.ts'
import { judge, type Metric, median } from './metric.ts'

const perNode = 16
/** Parts and multiples of the nodes that were asked for: 1,024 to 32,768 VMs for 1,024 nodes. */
const sizes = [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2] as const
const slowTimes = 3
const dyingNodes = 5
const leasesWanted = 100_000
const freeMs = 120_000
/** A lease of each kind for each VM. */
const leasesPerVm = 3
/** What each node exchanges with the controller: its share, and its report, which is answered with the verdict. */
const credentialsPerNode = 4
/** The default is 20 s, so that a restart of a node's vmrmd costs no job; here it is what "dead" costs. */
const lostNodeSeconds = 2

export async function benchScale(options: BenchOptions): Promise<readonly Metric[]> {
  const { nodes, say, signal } = options
  say(`a controller, and ${nodes * 2} simulated nodes`)
  const site = await startSite({ nodes: nodes * 2, lostNodeSeconds })
  let fleet: Fleet | undefined
  try {
    fleet = await startFleet(site.nodeConfig, site.nodes)
    const jobs = jobsOf({ site, fleet, signal, say })
    const grown = await growth(jobs, options)
    const clean = grown.get(nodes) ?? []
    const full = await fullLedger(jobs, site, clean, nodes)
    const faulty = await faults(jobs, clean, nodes)
    const credentials = await credentialsMs(site, nodes * credentialsPerNode)
    return [...ofGrowth(grown, nodes, credentials), ...faulty, ...full, ...memory(site)]
  } finally {
    await fleet?.stop()
    await site.stop()
  }
}

interface Jobs {
  /** Runs a job, and ends it unless it is to stay. */
  run(nodes: number, options?: { faults?: SimulatedFaults; stays?: boolean }): Promise<SimulatedRun>
  endAll(): Promise<void>
}

function jobsOf(of: { site: SimulatedSite; fleet: Fleet } & Pick<BenchOptions, 'signal' | 'say'>): Jobs {
  const { site, fleet, signal, say } = of
  const staying: number[] = []
  let job = 0
  // Nodes tell of the end after their Epilogs; what that costs is not the next run's.
  const end = async (ended: number, { dying = 0 }: SimulatedFaults) => {
    await endJob(site, fleet, ended)
    if (dying === 0) await until(`job ${ended} has ended`, () => leasesIn(site, ended) === 0, freeMs)
  }
  return {
    async run(nodes, { faults = {}, stays = false } = {}) {
      signal.throwIfAborted()
      job += 1
      const run = await runJob({ site, fleet, job, nodes, perNode, seed: job, faults })
      const refused = run.outcomes.find(({ state }) => state === 'refused')
      if (refused !== undefined && faults.dying === undefined)
        throw new Error(`a run without faults was refused: ${refused.reason}`)
      say(`${run.vms} VMs: ${Math.round(run.wallMs)} ms, ${Math.round(run.simulatedMs)} ms of them simulated`)
      if (stays) staying.push(job)
      else await end(job, faults)
      return run
    },
    async endAll() {
      for (const each of staying.splice(0)) await endJob(site, fleet, each)
    },
  }
}

type Runs = ReadonlyMap<number, readonly SimulatedRun[]>

async function growth(jobs: Jobs, { nodes, runs }: BenchOptions): Promise<Runs> {
  const grown = new Map<number, SimulatedRun[]>()
  // The first also pays for what is loaded and compiled on the way.
  await jobs.run(Math.ceil(nodes / 16))
  for (let round = 0; round < runs; round += 1) {
    for (const size of sizes) {
      const count = Math.max(1, Math.round(nodes * size))
      const run = await jobs.run(count)
      grown.set(count, [...(grown.get(count) ?? []), run])
    }
  }
  return grown
}

const middle = (runs: readonly SimulatedRun[], of: (run: SimulatedRun) => number) => median(runs.map(of))

function ofGrowth(grown: Runs, nodes: number, credentials: number): readonly Metric[] {
  const at = grown.get(nodes) ?? []
  const vms = nodes * perNode
  const seconds = (name: string, of: (run: SimulatedRun) => number, rest = {}) =>
    judge({ name, unit: 's', value: middle(at, of) / 1000, ...rest })
  const goal = { bound: 'at-most', value: 5 } as const
  const points = (of: (run: SimulatedRun) => number) =>
    [...grown].map(([count, runs]) => ({ size: count * perNode, cost: middle(runs, of) }))
  const growsBy = (name: string, of: (run: SimulatedRun) => number) =>
    judge({ name, unit: '', value: exponentOf(points(of)), goal: { bound: 'at-most', value: 1 } })
  return [
    seconds(
      `${vms} VMs on ${nodes} simulated nodes: from the question to the last node's decision`,
      (run) => run.wallMs,
    ),
    seconds('… of it what the simulated hypervisor of the last node takes', (run) => run.simulatedMs),
    seconds('… the rest: control plane, its simulated nodes on the same CPUs', (run) => run.controlMs, { goal }),
    seconds(
      "… CPU time of the control plane: the controller's vmrmd and munged",
      (run) => run.daemonMs + run.mungedMs,
      {
        ...{ baseline: credentials / 1000, goal },
      },
    ),
    seconds('… … of it vmrmd', (run) => run.daemonMs),
    seconds('… CPU time of the simulation: the nodes and their munged', (run) => run.nodesMs),
    seconds('… CPU time that others used on this machine meanwhile', (run) => run.othersMs),
    seconds('… asked, planned and leased', (run) => run.plannedMs),
    ...points((run) => run.daemonMs + run.mungedMs).map(({ size, cost }) =>
      judge({ name: `CPU time a VM, ${size} VMs`, unit: 'ms', value: cost / size }),
    ),
    growsBy('CPU time ~ VMs ^', (run) => run.daemonMs + run.mungedMs),
    growsBy('control plane ~ VMs ^', (run) => run.controlMs),
  ]
}

async function faults(jobs: Jobs, clean: readonly SimulatedRun[], nodes: number): Promise<readonly Metric[]> {
  const slow = { nodes: Math.ceil(nodes / 100), times: slowTimes }
  const slowed = await jobs.run(nodes, { faults: { slow } })
  const baseline = middle(clean, (run) => run.wallMs) / 1000
  const struck = await jobs.run(nodes, { faults: { slow, dying: dyingNodes } })
  const live = struck.outcomes.filter(({ state }) => state !== 'died')
  const wrong = live.filter(({ state, vms, reason }) => state !== 'refused' || vms !== 0 || reason === '')
  const reasons = new Set(live.map(({ reason }) => reason))
  return [
    judge({
      name: `1 % of the nodes ${slowTimes} times as slow: committed everywhere`,
      ...{ unit: 's', value: slowed.wallMs / 1000, baseline },
    }),
    judge({
      name: `the same, and ${dyingNodes} nodes die, their connections end (lost-node-seconds ${lostNodeSeconds}): aborted everywhere`,
      ...{ unit: 's', value: struck.wallMs / 1000, baseline, goal: { bound: 'at-most', value: 2 * baseline } },
    }),
    judge({
      name: '… nodes that live and have VMs of it, or no reason',
      ...{ unit: '', value: wrong.length, goal: { bound: 'at-most', value: 0 } },
    }),
    judge({
      name: '… different reasons',
      ...{ unit: '', value: reasons.size, goal: { bound: 'at-most', value: 1 } },
    }),
  ]
}

/** Jobs that stay until the ledger has the leases, and one more beside them. */
async function fullLedger(
  jobs: Jobs,
  site: SimulatedSite,
  clean: readonly SimulatedRun[],
  nodes: number,
): Promise<readonly Metric[]> {
  for (let left = leasesWanted; left > 0; left = leasesWanted - leasesIn(site)) {
    await jobs.run(Math.min(nodes * 2, Math.ceil(left / (leasesPerVm * perNode))), { stays: true })
  }
  const leases = leasesIn(site)
  const beside = await jobs.run(nodes)
  const killedMs = performance.now()
  await site.restart()
  const recoveredMs = performance.now() - killedMs
  const left = leasesIn(site)
  await jobs.endAll()
  // Nodes tell of the end after their Epilogs; what is not free by then is shown.
  await until('all leases are free', () => leasesIn(site) === 0, freeMs).catch(() => {})
  return [
    judge({ name: 'leases in the ledger', unit: '', value: leases, goal: { bound: 'at-least', value: leasesWanted } }),
    judge({
      name: '… control plane beside them (baseline: without)',
      ...{ unit: 's', value: beside.controlMs / 1000, baseline: middle(clean, (run) => run.controlMs) / 1000 },
    }),
    judge({
      name: '… vmrmd killed and ready again',
      ...{ unit: 's', value: recoveredMs / 1000, goal: { bound: 'at-most', value: 5 } },
    }),
    judge({ name: '… leases after that', unit: '', value: left, goal: { bound: 'at-least', value: leases } }),
    judge({
      name: '… leases when all jobs have ended',
      unit: '',
      value: leasesIn(site),
      goal: { bound: 'at-most', value: 0 },
    }),
  ]
}

function memory(site: SimulatedSite): readonly Metric[] {
  const { rssMib, peakMib } = site.usage()
  return [
    judge({ name: "memory of the controller's vmrmd, at the end", unit: 'MiB', value: rssMib }),
    judge({ name: '… at most, since its last start', unit: 'MiB', value: peakMib }),
  ]
}

/** Of one job, or of all. */
function leasesIn({ ledgerPath }: SimulatedSite, job?: number): number {
  const database = new DatabaseSync(ledgerPath, { readOnly: true })
  try {
    return Number(database.prepare('SELECT count(*) AS n FROM leases WHERE job = coalesce(?, job)').get(job ?? null)?.n)
  } finally {
    database.close()
  }
}

// One simulated node: the real runs, protocol, credentials and sockets of a node's daemon, with simulated VMs, and a journal
// in memory (a real node has a disk of its own; a thousand on one disk would measure that).

import type { DaemonConfig } from '../../lib/config/daemon-schema.ts'
import { type ClusterIdentity, connectMs, controllerClient, idleMs } from '../../lib/daemon/cluster-peers.ts'
import { createControllerLink } from '../../lib/daemon/node/controller-link.ts'
import { createNodeHandlers } from '../../lib/daemon/node/node-handlers.ts'
import type { ControllerLink } from '../../lib/daemon/node/ports.ts'
import type { Journal } from '../../lib/daemon/node/runs/journal.ts'
import { NodeRuns, type PrepareRequest } from '../../lib/daemon/node/runs/node-runs.ts'
import { type Run, runId } from '../../lib/job/run.ts'
import { silentLog } from '../../lib/log.ts'
import { createServer } from '../../lib/protocol/server.ts'
import { createSimulatedVms } from './simulated-vms.ts'

export interface NodeAddress {
  readonly name: string
  readonly address: string
}

/** How a run went on one node; times are ms since 1970. */
export interface NodeOutcome {
  readonly node: string
  readonly state: 'committed' | 'refused' | 'died'
  readonly reason: string
  readonly sharedMs: number
  readonly madeMs: number
  /** When it had the decision; if it was to give the run up, when it had removed its VMs as well. */
  readonly settledMs: number
  /** What the simulated VMs took, as drawn and not as slept. */
  readonly simulatedMs: number
  /** VMs that are there once the node has done what was decided. */
  readonly vms: number
}

export interface SimulatedNode {
  /** Tells the controller that it is there. */
  hello(): Promise<void>
  /** The Prolog, and what becomes of the run. With `dieAfterMs` the node is gone that long after it got its share. */
  run(request: PrepareRequest, options: { simulatedMs: number; dieAfterMs?: number }): Promise<NodeOutcome>
  end(run: Run): Promise<void>
  close(): Promise<void>
}

const decideMs = 300_000
const clock = () => performance.timeOrigin + performance.now()

export async function startNode({ name, address }: NodeAddress, config: DaemonConfig): Promise<SimulatedNode> {
  const ownUid = process.getuid?.() ?? 0
  const self: ClusterIdentity = { name, ownUid, slurmUid: ownUid }
  const client = controllerClient(config, self, { idleTimeoutMs: idleMs(config).clientMs, connectTimeoutMs: connectMs })
  const link = createControllerLink({ client, node: name, address, health: () => 'ready' })
  const died = new AbortController()
  const times = { sharedMs: 0, madeMs: 0 }
  const vms = createSimulatedVms()
  const runs = new NodeRuns({
    journal: memoryJournal(),
    controller: untilDeath({ ...link, ...timed(link, times) }, died.signal),
    maker: vms,
    log: silentLog,
    node: name,
    prepareMs: config.timeouts.prepareSeconds * 1000,
    shareMs: config.timeouts.controllerSeconds * 1000,
    adoptMs: 1000,
    firstUid: config.hypervisor.firstUid,
    uidCount: config.hypervisor.uidCount,
    otherUids: () => [],
    onGone: () => {},
    onAdopted: () => {},
    now: () => Date.now(),
  })
  const server = await createServer({
    role: 'node',
    handlers: createNodeHandlers({
      ...{ runs, node: name, markers: '/nonexistent', health: () => 'ready' as const, trustedUids: [0, ownUid] },
      readConsole: () => Promise.reject(new Error('simulated VMs have no console')),
    }),
    trustedUids: [0, ownUid],
    log: silentLog,
    listen: [
      {
        kind: 'munge',
        host: address,
        port: config.node.port,
        name,
        ownUid,
        munge: { socketPath: config.munge.socket },
      },
    ],
  })
  // As often as a real node's, not all at the same moment.
  const hellos = setInterval(
    () => void runs.reconcile().catch(() => {}),
    config.timeouts.reconcileSeconds * 1000 * (1 - Math.random() / 4),
  )
  const die = () => {
    clearInterval(hellos)
    died.abort(new Error('the node is dead'))
    client.close()
    return server.close({ graceMs: 0 })
  }
  return {
    hello: async () => void (await link.hello(runs.all().map((run) => run.entry))),
    async run(request, { simulatedMs, dieAfterMs }) {
      vms.nextMs = simulatedMs
      times.sharedMs = 0
      if (dieAfterMs !== undefined) {
        const wait = setInterval(() => {
          if (times.sharedMs === 0) return
          clearInterval(wait)
          setTimeout(() => void die(), dieAfterMs)
        }, 5)
      }
      const base = { node: name, simulatedMs }
      const gone = new Promise<'died'>((resolve) => died.signal.addEventListener('abort', () => resolve('died')))
      const live = (async () => {
        await runs.prepare(request)
        const run = runs.ofJob(request.job)
        if (run === undefined) throw new Error(`${name} has no run of job ${request.job}`)
        const entry = await run.decided(AbortSignal.timeout(decideMs))
        const decidedMs = clock()
        await run.idle(AbortSignal.timeout(decideMs))
        const { state, reason } = entry
        const settledMs = state === 'refused' ? clock() : decidedMs
        return {
          ...base,
          ...times,
          state: state as 'committed' | 'refused',
          reason,
          settledMs,
          vms: vms.count(run.name),
        }
      })()
      live.catch(() => {})
      // The run may be over before it got its share.
      if (dieAfterMs !== undefined) void live.then(die, die)
      // One that is to die dies, whatever it has heard by then.
      const outcome = await (dieAfterMs === undefined ? live : gone)
      return outcome === 'died'
        ? { ...base, ...times, state: outcome, reason: '', settledMs: clock(), vms: 0 }
        : outcome
    },
    end: (run) => runs.remove(run),
    async close() {
      clearInterval(hellos)
      client.close()
      await server.close({ graceMs: 0 })
    },
  }
}

/** Notes when the share came and when the report was about to go. */
function timed(link: ControllerLink, times: { sharedMs: number; madeMs: number }): Partial<ControllerLink> {
  return {
    async getShare(run, signal) {
      const answer = await link.getShare(run, signal)
      if (answer.state === 'share') times.sharedMs = clock()
      return answer
    },
    reportPrepared(run, missing, signal) {
      times.madeMs = clock()
      return link.reportPrepared(run, missing, signal)
    },
  }
}

/** What a dead node calls is never answered. */
function untilDeath(link: ControllerLink, died: AbortSignal): ControllerLink {
  return new Proxy(link, {
    get: (target, name: keyof ControllerLink) =>
      died.aborted ? () => new Promise(() => {}) : target[name].bind(target),
  })
}

function memoryJournal(): Journal {
  return {
    load: async () => ({ entries: [], unreadable: [] }),
    write: async () => {},
    folder: (run) => `/nonexistent/${runId(run)}`,
    callFolder: (run) => `/nonexistent/${runId(run)}/calls`,
    remove: async () => {},
  }
}

// The controller of the simulation: the real ledger, transactions, messenger, reconciler and message handlers. It can die and
// come back on its ledger.
import type { Catalogue } from '../../lib/config/load.ts'
import { type Batches, createBatches } from '../../lib/daemon/controller/batches/batches.ts'
import { createBatchPreparer } from '../../lib/daemon/controller/batches/prepare-batch.ts'
import { createControllerHandlers } from '../../lib/daemon/controller/handlers/controller-handlers.ts'
import { createHeldReports } from '../../lib/daemon/controller/held-reports.ts'
import type { Leases } from '../../lib/daemon/controller/ledger/leases.ts'
import { type Ledger, openLedger } from '../../lib/daemon/controller/ledger/ledger.ts'
import { createMessenger } from '../../lib/daemon/controller/messenger.ts'
import { createNodeDrains } from '../../lib/daemon/controller/node-drains.ts'
import type { NodeCaller } from '../../lib/daemon/controller/node-ports.ts'
import type { Planner } from '../../lib/daemon/controller/planning/planner.ts'
import { createReconciler } from '../../lib/daemon/controller/reconcile.ts'
import { createRemover } from '../../lib/daemon/controller/remove-run.ts'
import { createTransactions, type Transactions } from '../../lib/daemon/controller/transaction/transaction.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import type { Strategy } from '../../lib/job/decision.ts'
import type { RunPlan } from '../../lib/job/plan.ts'
import { type Run, runId } from '../../lib/job/run.ts'
import { silentLog } from '../../lib/log.ts'
import { addressPool, macRange, vniRange } from '../../lib/network/address.ts'
import { createFakeSlurm, type FakeSlurm } from '../fakes/slurm.ts'
import type { Random } from '../support/random.ts'
import { type LedgerDisk, onDisk } from './full-disk.ts'
import type { SimNode } from './messages-node.ts'
import type { VirtualClock } from './virtual-clock.ts'

export interface JobShape {
  readonly nodes: readonly string[]
  readonly perNode: number
  readonly strategy: Strategy
}

interface SimControllerOptions {
  readonly clock: VirtualClock
  readonly random: Random
  readonly nodes: ReadonlyMap<string, SimNode>
  /** Of a job, or of a batch by its name. */
  readonly shapeOf: (run: Run, batch: string | undefined) => JobShape
  /** `code`: of the cause. */
  readonly decided: (run: Run, state: string, code?: string) => void
  readonly freed: (run: Run) => void
}

const prepareMs = 60_000
const never = new Promise<never>(() => {})
const titled = { title: 'simulated' }

export class SimController {
  readonly ledger: Ledger
  readonly disk: LedgerDisk = { state: 'well', refused: 0 }
  readonly slurm: FakeSlurm = createFakeSlurm()
  readonly #options: SimControllerOptions
  #life = { isOver: false }
  transactions: Transactions
  batches: Batches
  handlers: ReturnType<typeof createControllerHandlers>

  constructor(options: SimControllerOptions) {
    this.#options = options
    this.ledger = onDisk(watched(openLedger(':memory:'), options), this.disk, options.random)
    for (const name of ['n1', 'n2', 'n3', 'n4']) this.ledger.rememberNode(name, '10.99.0.1', 0)
    const parts = this.#newParts()
    this.transactions = parts.transactions
    this.batches = parts.batches
    this.handlers = parts.handlers
  }

  isUp(): boolean {
    return !this.#life.isOver
  }

  die(): void {
    this.#life.isOver = true
  }

  start(): void {
    this.#life = { isOver: false }
    const parts = this.#newParts()
    this.transactions = parts.transactions
    this.batches = parts.batches
    this.handlers = parts.handlers
    this.transactions.recover()
  }

  #newParts() {
    const { clock, random, nodes, shapeOf } = this.#options
    const { ledger, slurm } = this
    const life = this.#life
    const now = () => clock.nowMs
    /** What a dead daemon waited for never comes. */
    const living = async <T>(work: Promise<T>): Promise<T> => {
      const result = await work
      return life.isOver ? never : result
    }
    const nodeOf = (name: string) => nodes.get(name) as SimNode
    const caller: NodeCaller = {
      verdict: async (node, { job, restart }, { verdict, reason, missing }) => {
        if (life.isOver) return never
        const lacks = missing.length === 0 ? {} : { missing: [...missing] }
        await living(nodeOf(node).call((of) => of.verdict({ job, restart, verdict, reason, ...lacks })))
      },
      destroyRun: async (node, { job, restart }) => {
        if (life.isOver) return never
        await living(nodeOf(node).call((of) => of['destroy-run']({ job, restart }), 90_000))
      },
      expectRun: async () => {},
      prepareBatch: async (node, { job, restart }, { name, content }) => {
        if (life.isOver) return never
        const owner = { uid: 2001, gid: 2001, user: 'alice' }
        const sent = nodeOf(node).call((of) => of['prepare-batch']({ job, restart, ...owner, name, content }))
        const silent = () => (life.isOver ? never : Promise.reject(new VmrmError('daemon-unreachable', 'no answer')))
        await living(sent.catch(silent))
      },
    }
    const planner: Planner = {
      async plan(request) {
        await living(clock.delay(random.int(400)))
        return (leases) => lease(leases, request, shapeOf(request, ledger.batchOf(request)?.name))
      },
    }
    const reports = createHeldReports({ holdMs: 6000 })
    const drains = createNodeDrains({ ledger, slurm, log: silentLog })
    const messenger = createMessenger({ ledger, nodes: caller, drains, reports, slurm, log: silentLog })
    // Nothing is ever full here.
    const waitingRoom = { enter: async () => 'refused' as const, leave: () => {} }
    const transactions = createTransactions({
      ledger,
      planner,
      messenger,
      log: silentLog,
      prepareMs,
      mayLease: async () => {},
      waitingRoom,
      onBatchAborted: (run) => batches.aborted(run),
      now,
    })
    const remover = createRemover({ ledger, transactions, nodes: caller, log: silentLog })
    const preparer = createBatchPreparer({ ledger, transactions, nodes: caller, log: silentLog, awayMs: 40_000, now })
    const batches = createBatches({
      ...{ ledger, transactions, planner, preparer, remover, log: silentLog },
      mayLease: async () => {},
      presentNodes: () => [...nodes.keys()],
    })
    const reconciler = createReconciler({
      ...{ ledger, transactions, slurm, remover, log: silentLog, minimumAgeMs: 20_000, epilogMs: 10_000, now },
    })
    const handlers = createControllerHandlers({
      drains,
      ...{ ledger, transactions, reports, slurm, log: silentLog, trustedUids: [0], now },
      onHello: (node) => batches.nodeIsThere(node),
      isLost: () => false,
      catalogue: {} as Catalogue,
      nodes: { answers: async () => true },
      rebuild: { isDone: () => true, stranger: async () => {} },
      beginRun: async (request) => {
        await transactions.begin(request)
        return 'begun'
      },
      lookUpAccount: async () => {
        throw new Error('nobody is looked up here')
      },
    })
    const every = (ms: number, work: () => Promise<void>) => {
      // What fails is done again the next time.
      const timer = setInterval(() => (life.isOver ? clearInterval(timer) : void work().catch(() => {})), ms)
    }
    every(1000, async () => transactions.expire())
    every(5000, () => reconciler.round())
    return { transactions, batches, handlers }
  }
}

function lease(leases: Leases, run: Run, { nodes, perNode, strategy }: JobShape): RunPlan {
  const count = nodes.length * perNode
  const pool = addressPool({ kind: 'private', addresses: '10.0.0.0/16' })
  const [vni = '1'] = leases.take({ ...vniRange(1, 1000), ...titled }, 1, run)
  const addresses = leases.take({ ...pool, ...titled }, count, run)
  const macs = leases.take({ ...macRange('52:54:76'), ...titled }, count, run)
  let index = 0
  return {
    ...{ image: 'tiny', revision: '1', strategy, vni: Number(vni), prefixLength: 16, gateway: '10.0.0.1' },
    nodes: nodes.map((node) => ({
      ...{ node, underlay: '10.99.0.1', cpuIds: [], memoryMib: 500 },
      vms: Array.from({ length: perNode }, () => {
        const at = index++
        const place = { mac: macs[at] ?? '', address: addresses[at] ?? '' }
        return { index: at, hostname: `h${run.job}-${at}`, ...place, vcpus: 1, memoryMib: 100 }
      }),
    })),
  }
}

function watched(ledger: Ledger, { decided, freed }: SimControllerOptions): Ledger {
  return {
    ...ledger,
    move(run, change, cause) {
      const isMoved = ledger.move(run, change, cause)
      if (isMoved) decided(run, change.to, cause?.code)
      return isMoved
    },
    loseVm(run, node, lost) {
      const isLost = ledger.loseVm(run, node, lost)
      if (isLost) decided(run, 'lost', 'vm-lost')
      return isLost
    },
    finish(run, atMs) {
      freed(run)
      ledger.finish(run, atMs)
      decided(run, `ended ${runId(run)}`)
    },
  }
}

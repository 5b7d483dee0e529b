// The controller's daemon, put together: ledger, planner, transactions, reconciler, and the sockets they answer on.
import { lookup } from 'node:dns/promises'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { openCatalogue } from '../../config/load.ts'
import { isBatch, type Run } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import { peerCredentials } from '../../protocol/peer-credentials.ts'
import { createServer } from '../../protocol/server.ts'
import { createSlurmCommands } from '../../slurm/commands.ts'
import { lookUpAccount, lookUpUid } from '../account.ts'
import { idleMs, nodeClient } from '../cluster-peers.ts'
import { repeatEvery } from '../repeat-every.ts'
import { createBatchHandlers } from './batches/batch-handlers.ts'
import { createBatches } from './batches/batches.ts'
import { createBatchPreparer } from './batches/prepare-batch.ts'
import { createBeginRun } from './begin-run.ts'
import { type ConsoleReader, createConsoleHandler } from './console-handler.ts'
import { createControllerHandlers } from './handlers.ts'
import { createHeldReports } from './held-reports.ts'
import { type Ledger, openLedger } from './ledger/ledger.ts'
import { createMessenger, type NodeCaller } from './messenger.ts'
import { createPlanner } from './planning/planner.ts'
import { createPresence } from './presence.ts'
import { createRebuild, type NodeTeller, type Rebuild } from './rebuild/rebuild.ts'
import { createReconciler } from './reconcile.ts'
import { createRemover } from './remove-run.ts'
import { createTransactions } from './transaction/transaction.ts'
import { createWaitingRoom } from './waiting-room.ts'

const everySecondMs = 1000
/** Runs younger than this are not compared with Slurm. */
const minimumAgeMs = 20_000
const destroyMs = 90_000
const expectCallMs = 10_000
const tellMs = 5000
/** A daemon that has gone is known at once; what takes time is a host that is gone or busy, or this daemon's own work. */
const presenceMs = 20_000
/** Shorter than a node waits for the answer. A run whose nodes differ by more pays a connection to each. */
const holdReportMs = 30_000
/** Nodes are strangers until they are greeted, and after a restart of this daemon all come at once. */
const strangers = 8192
/** Within the time that PrologSlurmctld has. */
const mayLeaseMs = 40_000

/** Runs until `signal` aborts. Throws `config-invalid` and the like when it cannot start. */
export async function runController(options: { config: DaemonConfig; log: Log; signal: AbortSignal }): Promise<void> {
  const beganMs = performance.now()
  const { config, log, signal } = options
  const slurmUid = await lookUpUid(config.controller.user)
  const ownUid = process.getuid?.() ?? slurmUid
  const trustedUids = [0, slurmUid]
  mkdirSync(config.paths.controllerState, { recursive: true, mode: 0o700 })
  const ledger = openLedger(join(config.paths.controllerState, 'ledger.sqlite'))
  const catalogue = openCatalogue(config.paths.images)
  for (const problem of catalogue.problems()) log.error('image.left-out', { text: problem.message })
  const slurm = createSlurmCommands({ commandsFolder: config.slurm.commands, configFile: config.slurm.config })
  const nodes = createNodeCaller({ config, ledger, self: { name: 'controller', ownUid, slurmUid } })
  const planner = createPlanner({
    config,
    slurm,
    catalogue: async () => catalogue.images(),
    groupsOf: async (user) => (await lookUpAccount(user)).groups.map((group) => group.name),
    underlayOf: (node) => addressOf(ledger, node),
  })
  const reports = createHeldReports({ holdMs: holdReportMs })
  const messenger = createMessenger({ ledger, nodes, reports, slurm, log })
  const now = () => Date.now()
  const { prepareSeconds, reconcileSeconds, removeSeconds } = config.timeouts
  const prepareMs = prepareSeconds * 1000
  const mayLease = () => rebuild.mayLease(mayLeaseMs)
  const waitingRoom = createWaitingRoom({
    ...{ ledger, slurm, config, log, now },
    images: () => catalogue.images(),
    mayLease: () => rebuild.isDone(),
    lookEveryMs: config.timeouts.reconcileSeconds * 1000,
  })
  const onBatchAborted = (run: Run) => batches.aborted(run)
  const transactions = createTransactions({
    ...{ ledger, planner, messenger, waitingRoom, onBatchAborted, log, prepareMs, mayLease, now },
  })
  const remover = createRemover({ ledger, transactions, nodes, log })
  const expectMs = config.timeouts.nodeDaemonSeconds * 1000
  const batches = createBatches({
    ...{ ledger, transactions, planner, remover, mayLease, log },
    preparer: createBatchPreparer({ ledger, transactions, nodes, log, awayMs: expectMs, now }),
    presentNodes: () => ledger.knownNodes().filter((node) => presence.isConnected(node)),
  })
  const rebuild: Rebuild = createRebuild({ ledger, transactions, slurm, nodes, log, prepareMs, now })
  // What an older ledger calls undecided was decided long ago, and the nodes know how.
  if (rebuild.isDone()) transactions.recover()
  log.info('daemon.recovered', { role: 'controller', ms: Math.round(performance.now() - beganMs) })
  void rebuild.run(signal)
  const epilogMs = removeSeconds * 1000
  const reconciler = createReconciler({ ledger, transactions, slurm, remover, log, minimumAgeMs, epilogMs, now })
  const beginRun = createBeginRun({ transactions, slurm, nodes, log, expectMs, now })
  const handlers = {
    ...createControllerHandlers({
      ...{
        ledger,
        transactions,
        reports,
        rebuild,
        beginRun,
        nodes,
        catalogue,
        slurm,
        lookUpAccount,
        trustedUids,
        log,
        now,
      },
      onHello: (node) => batches.nodeIsThere(node),
      isLost: (node) => presence.isLost(node),
    }),
    ...createBatchHandlers({ batches, lookUpAccount, trustedUids }),
    'read-console': createConsoleHandler({ ledger, readConsole: nodes.readConsole, trustedUids }),
  }
  const presence = createPresence({
    graceMs: config.timeouts.lostNodeSeconds * 1000,
    answers: (node) =>
      nodes.heldRuns(node, presenceMs).then(
        () => true,
        () => false,
      ),
    onLost: (node) => transactions.nodeLost(node),
  })
  for (const run of ledger.inState('committed', 'lost').filter(isBatch))
    for (const { node } of ledger.shares(run)) presence.expect(node)
  const server = await createServer({
    role: 'controller',
    limits: { idleTimeoutMs: idleMs(config).serverMs, connections: strangers },
    onPeer: (caller, change) => {
      if (caller.from === 'munge' && trustedUids.includes(caller.uid)) presence[change](caller.host)
    },
    handlers,
    trustedUids,
    log,
    listen: [
      { kind: 'local', path: join(config.paths.runtime, 'controller.sock'), peerCredentials },
      {
        kind: 'munge',
        host: config.controller.address ?? '0.0.0.0',
        port: config.controller.port,
        name: 'controller',
        ownUid,
        munge: { socketPath: config.munge.socket },
      },
    ],
  })
  const stops = [
    repeatEvery({ intervalMs: everySecondMs, event: 'release.failed', log, work: () => waitingRoom.round() }),
    repeatEvery({
      intervalMs: everySecondMs,
      event: 'expire.failed',
      log,
      work: () => (rebuild.isDone() ? transactions.expire() : undefined),
    }),
    repeatEvery({
      intervalMs: reconcileSeconds * 1000,
      event: 'reconcile.failed',
      log,
      work: () => reconciler.round(),
    }),
  ]
  log.info('daemon.ready', { role: 'controller', leases: ledger.leaseCount() })
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  for (const stop of stops) stop()
  presence.close()
  reports.close()
  await server.close()
  ledger.close()
}

async function addressOf(ledger: Ledger, node: string): Promise<string> {
  return ledger.nodeAddress(node) ?? (await lookup(node, 4)).address
}

function createNodeCaller(options: {
  config: DaemonConfig
  ledger: Ledger
  self: { name: string; ownUid: number; slurmUid: number }
}): NodeCaller & NodeTeller & { readonly readConsole: ConsoleReader } {
  const { config, ledger, self } = options
  const clients = new Map<string, ProtocolClient>()
  const clientOf = async (node: string): Promise<ProtocolClient> => {
    const address = await addressOf(ledger, node)
    const key = `${node} ${address}`
    const client = clients.get(key) ?? nodeClient({ config, self, node, address })
    clients.set(key, client)
    return client
  }
  return {
    async verdict(node, { job, restart }: Run, { verdict, reason, missing }) {
      const lacks = missing.length === 0 ? {} : { missing: [...missing] }
      const body = { job, restart, verdict, ...lacks, ...(reason === '' ? {} : { reason }) }
      await (await clientOf(node)).call('verdict', body)
    },
    async destroyRun(node, { job, restart }: Run) {
      await (await clientOf(node)).call('destroy-run', { job, restart }, { timeoutMs: destroyMs })
    },
    async prepareBatch(node, { job, restart, uid, gid, user }, { name, content }) {
      const body = { job, restart, uid, gid, user, name, content }
      await (await clientOf(node)).call('prepare-batch', body, { timeoutMs: expectCallMs })
    },
    async expectRun(node, { job, restart }: Run, script) {
      await (await clientOf(node)).call('expect-run', { job, restart, script }, { timeoutMs: expectCallMs })
    },
    async heldRuns(node, timeoutMs = tellMs) {
      const { runs } = await (await clientOf(node)).call('node-status', {}, { timeoutMs })
      return runs
    },
    async tellRun(node, { job, restart }) {
      const { run } = await (await clientOf(node)).call('tell-run', { job, restart }, { timeoutMs: tellMs })
      return run === undefined ? undefined : { ...structuredClone(run), job, restart, node }
    },
    async readConsole(node, { job, restart }, { vm, offset }) {
      return (await clientOf(node)).call('get-console', { job, restart, vm, offset })
    },
  }
}

// What the controller's daemon is made of, each part given the others it needs. It begins nothing: no socket is listened on, nothing
// is decided.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { openCatalogue } from '../../config/load.ts'
import type { Run } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import { createSlurmCommands } from '../../slurm/commands.ts'
import { lookUpAccount, lookUpUid } from '../account.ts'
import type { ClusterIdentity } from '../cluster-peers.ts'
import { createBatches } from './batches/batches.ts'
import { createBatchPreparer } from './batches/prepare-batch.ts'
import { createHeldReports } from './held-reports.ts'
import { openLedger } from './ledger/ledger.ts'
import { createMessenger } from './messenger.ts'
import { addressOf, createNodeCaller } from './node-caller.ts'
import { createNodeDrains } from './node-drains.ts'
import { createPlanner } from './planning/planner.ts'
import { createPresence, type Presence } from './presence.ts'
import { createRebuild, type Rebuild } from './rebuild/rebuild.ts'
import { createReconciler } from './reconcile.ts'
import { createRemover } from './remove-run.ts'
import { createTransactions } from './transaction/transaction.ts'
import { createWaitingRoom } from './waiting-room.ts'

/** Runs younger than this are not compared with Slurm. */
const minimumAgeMs = 20_000
/** A daemon that has gone is known at once; what takes time is a host that is gone or busy, or this daemon's own work. */
const presenceMs = 20_000
/** Shorter than a node waits for the answer. A run whose nodes differ by more pays a connection to each. */
const holdReportMs = 30_000
/** Within the time that PrologSlurmctld has. */
const mayLeaseMs = 40_000

export type ControllerAssembly = Awaited<ReturnType<typeof assembleController>>

export async function assembleController({ config, log }: { config: DaemonConfig; log: Log }) {
  const self = await ownIdentity(config)
  mkdirSync(config.paths.controllerState, { recursive: true, mode: 0o700 })
  const ledger = openLedger(join(config.paths.controllerState, 'ledger.sqlite'))
  const catalogue = openCatalogue(config.paths.images)
  for (const problem of catalogue.problems()) log.error('image.left-out', { text: problem.message })
  const slurm = createSlurmCommands({ commandsFolder: config.slurm.commands, configFile: config.slurm.config })
  const nodes = createNodeCaller({ config, ledger, self })
  const planner = createPlanner({
    ...{ config, slurm, groupsOf },
    catalogue: async () => catalogue.images(),
    underlayOf: (node) => addressOf(ledger, node),
  })
  const reports = createHeldReports({ holdMs: holdReportMs })
  const drains = createNodeDrains({ ledger, slurm, log })
  const messenger = createMessenger({ ledger, nodes, drains, reports, slurm, log })
  const now = () => Date.now()
  const { prepareSeconds, reconcileSeconds, removeSeconds, nodeDaemonSeconds, lostNodeSeconds } = config.timeouts
  const prepareMs = prepareSeconds * 1000
  const mayLease = () => rebuild.mayLease(mayLeaseMs)
  const waitingRoom = createWaitingRoom({
    ...{ ledger, slurm, config, log, now, lookEveryMs: reconcileSeconds * 1000 },
    images: () => catalogue.images(),
    mayLease: () => rebuild.isDone(),
  })
  const onBatchAborted = (run: Run) => batches.aborted(run)
  const transactions = createTransactions({
    ...{ ledger, planner, messenger, waitingRoom, onBatchAborted, log, prepareMs, mayLease, now },
  })
  const remover = createRemover({ ledger, transactions, nodes, log })
  const epilogMs = removeSeconds * 1000
  const reconciler = createReconciler({ ledger, transactions, slurm, remover, log, minimumAgeMs, epilogMs, now })
  const batches = createBatches({
    ...{ ledger, transactions, planner, remover, mayLease, log },
    preparer: createBatchPreparer({ ledger, transactions, nodes, log, awayMs: nodeDaemonSeconds * 1000, now }),
    presentNodes: () => ledger.knownNodes().filter((node) => presence.isConnected(node)),
  })
  const rebuild: Rebuild = createRebuild({ ledger, transactions, slurm, nodes, log, prepareMs, now })
  const presence: Presence = createPresence({
    graceMs: lostNodeSeconds * 1000,
    answers: (node) => nodes.answers(node, presenceMs),
    onLost: (node) => transactions.nodeLost(node),
  })
  return {
    ...{ self, ledger, catalogue, slurm, nodes, drains, reports, waitingRoom, transactions },
    ...{ reconciler, batches, rebuild, presence, now },
  }
}

async function ownIdentity(config: DaemonConfig): Promise<ClusterIdentity> {
  const slurmUid = await lookUpUid(config.controller.user)
  return { name: 'controller', ownUid: process.getuid?.() ?? slurmUid, slurmUid }
}

async function groupsOf(user: string): Promise<readonly string[]> {
  return (await lookUpAccount(user)).groups.map((group) => group.name)
}

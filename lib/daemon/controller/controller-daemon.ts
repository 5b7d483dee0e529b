// The life of the controller's daemon: it goes on where the ledger says it was, answers on its sockets until it is told to end, and
// leaves all runs be.
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { isBatch } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import { peerCredentials } from '../../protocol/peer-credentials.ts'
import { createServer, type Handlers, type ProtocolServer } from '../../protocol/server.ts'
import { lookUpAccount } from '../account.ts'
import { idleMs } from '../cluster-peers.ts'
import { repeatEvery } from '../repeat-every.ts'
import { assembleController, type ControllerAssembly } from './assemble-controller.ts'
import { createBatchHandlers } from './batches/batch-handlers.ts'
import { createBeginRun } from './begin-run.ts'
import { createConsoleHandler } from './handlers/console-handler.ts'
import { createControllerHandlers } from './handlers/controller-handlers.ts'

const everySecondMs = 1000
/** Nodes are strangers until they are greeted, and after a restart of this daemon all come at once. */
const strangers = 8192

interface DaemonOptions {
  readonly config: DaemonConfig
  readonly log: Log
  /** Ends the daemon; runs go on. */
  readonly signal: AbortSignal
}

/** Runs until `signal` aborts. Throws `config-invalid` and the like when it cannot start. */
export async function runController(options: DaemonOptions): Promise<void> {
  const beganMs = performance.now()
  const { log, signal } = options
  const assembly = await assembleController(options)
  const { ledger, transactions, rebuild, presence, reports } = assembly
  // What an older ledger calls undecided was decided long ago, and the nodes know how.
  if (rebuild.isDone()) transactions.recover()
  void rebuild.run(signal)
  for (const run of ledger.inState('committed', 'lost').filter(isBatch))
    for (const { node } of ledger.shares(run)) presence.expect(node)
  const server = await answer(options, assembly)
  log.info('daemon.recovered', { role: 'controller', ms: Math.round(performance.now() - beganMs) })
  const endRounds = beginRounds(options, assembly)
  log.info('daemon.ready', { role: 'controller', leases: ledger.leaseCount() })
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  endRounds()
  presence.close()
  reports.close()
  await server.close()
  ledger.close()
}

function answer({ config, log }: DaemonOptions, assembly: ControllerAssembly): Promise<ProtocolServer> {
  const { presence, self } = assembly
  const trustedUids = [0, self.slurmUid]
  return createServer({
    role: 'controller',
    limits: { idleTimeoutMs: idleMs(config).serverMs, connections: strangers },
    onPeer: (caller, change) => {
      if (caller.from === 'munge' && trustedUids.includes(caller.uid)) presence[change](caller.host)
    },
    handlers: handlersOf({ config, log, trustedUids }, assembly),
    trustedUids,
    log,
    listen: [
      { kind: 'local', path: join(config.paths.runtime, 'controller.sock'), peerCredentials },
      {
        kind: 'munge',
        host: config.controller.address ?? '0.0.0.0',
        port: config.controller.port,
        name: self.name,
        ownUid: self.ownUid,
        munge: { socketPath: config.munge.socket },
      },
    ],
  })
}

function handlersOf(
  { config, log, trustedUids }: Pick<DaemonOptions, 'config' | 'log'> & { trustedUids: readonly number[] },
  assembly: ControllerAssembly,
): Handlers {
  const { ledger, transactions, slurm, nodes, batches, presence, now } = assembly
  const expectMs = config.timeouts.nodeDaemonSeconds * 1000
  return {
    ...createControllerHandlers({
      ...{ ...assembly, lookUpAccount, trustedUids, log },
      beginRun: createBeginRun({ transactions, slurm, nodes, log, expectMs, now }),
      onHello: (node) => batches.nodeIsThere(node),
      isLost: (node) => presence.isLost(node),
    }),
    ...createBatchHandlers({ batches, lookUpAccount, trustedUids }),
    'read-console': createConsoleHandler({ ledger, readConsole: nodes.readConsole, trustedUids }),
  }
}

/** What it does again and again while it lives. What it returns ends that. */
function beginRounds({ config, log }: DaemonOptions, assembly: ControllerAssembly): () => void {
  const { waitingRoom, transactions, rebuild, reconciler } = assembly
  const reconcileMs = config.timeouts.reconcileSeconds * 1000
  const expire = () => (rebuild.isDone() ? transactions.expire() : undefined)
  const stops = [
    { event: 'release.failed', intervalMs: everySecondMs, log, work: () => waitingRoom.round() },
    { event: 'expire.failed', intervalMs: everySecondMs, log, work: expire },
    { event: 'reconcile.failed', intervalMs: reconcileMs, log, work: () => reconciler.round() },
  ].map(repeatEvery)
  return () => {
    for (const stop of stops) stop()
  }
}

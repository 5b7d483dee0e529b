// The life of a node's daemon: it takes up the runs that are there, answers on its sockets until it is told to end, and leaves the runs be.
import { statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import type { Log } from '../../log.ts'
import { createServer, type ProtocolServer } from '../../protocol/server.ts'
import { stopReasonTexts } from '../../vm/hypervisor.ts'
import { assembleNode, type NodeAssembly } from './assemble-node.ts'
import { makeFolders, markersFolder } from './folders.ts'
import { createNodeHandlers } from './node-handlers.ts'
import { beginRounds } from './rounds.ts'
import { createTemplateHandlers } from './templates/template-handlers.ts'
import { vmFiles } from './vms/domain-of.ts'

export interface DaemonOptions {
  readonly config: DaemonConfig
  readonly log: Log
  /** Ends the daemon; jobs go on. */
  readonly signal: AbortSignal
}

/**
 * Runs until `signal` aborts; then the caller must end the process. Throws `config-invalid` and the like when it cannot start.
 */
export async function runNode(options: DaemonOptions): Promise<void> {
  const beganMs = performance.now()
  const { config, log, signal } = options
  await makeFolders(config)
  const assembly = await assembleNode(options)
  const { host, runs, tasks } = assembly
  tellStopped(assembly, config.paths.runs, log)
  const startMs = Math.round(performance.now() - beganMs)
  const { done } = await runs.recover()
  await tasks.listen()
  const server = await answer(options, assembly)
  void done.then((phases) => {
    const ms = Math.round(performance.now() - beganMs)
    log.info('daemon.recovered', { role: 'node', ms, phases: `start=${startMs} ${phases}` })
  })
  const endRounds = beginRounds({ ...assembly, config, log })
  watchReachability(assembly, log)
  log.info('daemon.ready', { role: 'node', node: host.node, address: host.address, runs: runs.all().length })
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  endRounds()
  await server.close()
  await tasks.close()
  // Nothing else is closed: to a creation under way a libvirt connection that ends looks like a fault of the node.
}

function answer({ config, log }: DaemonOptions, assembly: NodeAssembly): Promise<ProtocolServer> {
  const { host, health, journal, consoles, images, templates, runs } = assembly
  const { node, address, ownUid, slurmUid, peerCredentials } = host
  const trustedUids = [0, slurmUid]
  return createServer({
    role: 'node',
    handlers: {
      ...createNodeHandlers({
        ...{ runs, node, markers: markersFolder(config), health, trustedUids },
        readConsole: (entry, vm, offset) => consoles.read(vmFiles(journal.folder(entry), vm).console, offset),
      }),
      ...createTemplateHandlers({ templates, images, maxMib: config.templates.maxMib }),
    },
    trustedUids,
    log,
    listen: [
      { kind: 'local', path: join(config.paths.runtime, 'node.sock'), peerCredentials },
      {
        ...{ kind: 'munge', host: address, port: config.node.port, name: node, ownUid },
        munge: { socketPath: config.munge.socket },
      },
    ],
  })
}

function tellStopped({ hypervisor, runs }: NodeAssembly, runsFolder: string, log: Log): void {
  const tell = async (name: string, reason: keyof typeof stopReasonTexts) => {
    const text = stopReasonTexts[reason]
    await runs.vmStopped(name, reason === 'io-error' ? `${text}${await roomOf(runsFolder)}` : text)
  }
  hypervisor.onStopped(({ name, reason }) => {
    tell(name, reason).catch((error: unknown) =>
      log.error('vm.end-not-recorded', { vm: name, text: toVmrmError(error).message }),
    )
  })
}

/** Empty where that cannot be known. */
async function roomOf(folder: string): Promise<string> {
  const status = await statfs(folder).catch(() => undefined)
  return status === undefined
    ? ''
    : `: ${folder} has ${Math.floor((status.bavail * status.bsize) / 1_048_576)} MiB left`
}

function watchReachability({ hypervisor, runs, templates }: NodeAssembly, log: Log): void {
  hypervisor.onReachability((state) => {
    log[state === 'reachable' ? 'info' : 'error']('hypervisor', { state })
    if (state !== 'reachable') return
    void runs.reconcile().catch(() => {}) // tells the controller at once; the next round repeats it
    void templates.removeStrays().catch(() => {}) // as does the next sweep
  })
}

// What a node's daemon is made of, each part given the others it needs. It begins nothing: no socket is listened on, no run is taken up.
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { openCatalogue } from '../../config/load.ts'
import type { TaskServer } from '../../guest/relay/task-server.ts'
import type { Log } from '../../log.ts'
import { consolePartBytes } from '../../protocol/messages/common.ts'
import { createSlurmCommands } from '../../slurm/commands.ts'
import { relayedCommands } from '../../slurm/relayed-commands.ts'
import type { Hypervisor } from '../../vm/hypervisor.ts'
import { createLibvirtHypervisor } from '../../vm/libvirt-hypervisor.ts'
import { connectMs, controllerClient, idleMs } from '../cluster-peers.ts'
import { ownBinary } from '../installed.ts'
import { createSemaphore } from '../semaphore.ts'
import { createConsoles } from './consoles.ts'
import { createControllerLink } from './controller-link.ts'
import { type Host, openHost } from './host.ts'
import { requiredParts } from './required-parts.ts'
import { openJournal } from './runs/journal.ts'
import { NodeRuns } from './runs/node-runs.ts'
import { openTaskServer } from './tasks/open-task-server.ts'
import { openTemplates } from './templates/open-templates.ts'
import { openVmMaker } from './vms/open-vm-maker.ts'

const adoptMs = 30_000

export type NodeAssembly = Awaited<ReturnType<typeof assembleNode>>

/** Throws `config-invalid` and the like where the machine is not what the configuration says. */
export async function assembleNode(options: { config: DaemonConfig; log: Log; signal: AbortSignal }) {
  const { config, log } = options
  const hypervisor = openHypervisor(config, log)
  const host = await openHost(options)
  const parts = requiredParts(config, host.node)
  const health = () => (hypervisor.reachability === 'reachable' && parts.areThere() ? 'ready' : 'fault')
  const controller = openControllerLink(config, host, health)
  const journal = openJournal({ runsFolder: config.paths.runs, log })
  const maxBytes = config.hypervisor.consoleMaxKib * 1024
  const consoles = createConsoles({ maxBytes, partBytes: consolePartBytes, log })
  const catalogue = openCatalogue(config.paths.images)
  const images = () => catalogue.images()
  const slurm = createSlurmCommands({ commandsFolder: config.slurm.commands, configFile: config.slurm.config })
  const allowed = config.relay.commands.split(' ')
  const commands = relayedCommands({ allowed, folder: config.slurm.commands, vmrm: ownBinary })
  const admission = createSemaphore(config.hypervisor.startsAtOnce)
  const templates = await openTemplates({
    ...{ config, hypervisor, admission, accelerator: host.accelerator, qemuGid: host.qemuGid, images, log },
    usedUids: () => runs.all().map((run) => run.entry.qemuUid),
  })
  const maker = openVmMaker({
    ...{ config, host, hypervisor, journal, catalogue, commands, admission, templates, parts, log },
  })
  const { prepareSeconds, controllerSeconds } = config.timeouts
  const { firstUid, uidCount } = config.hypervisor
  const runs: NodeRuns = new NodeRuns({
    ...{ journal, controller, maker, log, node: host.node, firstUid, uidCount, adoptMs },
    otherUids: () => templates.uids(),
    prepareMs: prepareSeconds * 1000,
    shareMs: controllerSeconds * 1000,
    onGone: (run, text) => {
      for (const vm of run.vms.values()) tasks.vmLost(vm.name, text)
    },
    onAdopted: (run) => {
      for (const vm of run.vms.values()) tasks.attachChannel(vm.channel)
    },
    now: () => Date.now(),
  })
  const tasks: TaskServer = openTaskServer({ config, host, runs, journal, images, commands, slurm, log })
  return { host, hypervisor, health, controller, journal, consoles, images, templates, runs, tasks }
}

function openHypervisor({ hypervisor, cluster }: DaemonConfig, log: Log): Hypervisor {
  const { socket, uri, pidFolder } = hypervisor
  return createLibvirtHypervisor({ socketPath: socket, uri, pidFolder, cluster: cluster.name, log })
}

function openControllerLink(config: DaemonConfig, host: Host, health: () => 'ready' | 'fault') {
  const { node, address, ownUid, slurmUid } = host
  const self = { name: node, ownUid, slurmUid }
  const client = controllerClient(config, self, { idleTimeoutMs: idleMs(config).clientMs, connectTimeoutMs: connectMs })
  return createControllerLink({ client, node, address, health })
}

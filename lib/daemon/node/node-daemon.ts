// The node's daemon, put together: journal, hypervisor, network, exports, guest channels, and the sockets it answers on.

import { existsSync } from 'node:fs'
import { chmod, mkdir, statfs } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { type Catalogue, openCatalogue } from '../../config/load.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { TaskServer } from '../../guest/relay.ts'
import type { Log } from '../../log.ts'
import { createGanesha } from '../../network/nfs-export.ts'
import { setUpNodeNetwork } from '../../network/node-network.ts'
import { listRunNetworks, setUpRunNetwork, tearDownRunNetwork } from '../../network/run-network.ts'
import { consolePartBytes } from '../../protocol/messages/common.ts'
import { loadPeerCredentials } from '../../protocol/peer-credentials.ts'
import { createServer } from '../../protocol/server.ts'
import { createSlurmCommands } from '../../slurm/commands.ts'
import { type RelayedCommand, relayedCommands } from '../../slurm/relayed-commands.ts'
import { chooseAccelerator } from '../../vm/accelerator.ts'
import { type Hypervisor, type StoppedVm, stopReasonTexts } from '../../vm/hypervisor.ts'
import { createLibvirtHypervisor } from '../../vm/libvirt-hypervisor.ts'
import { lookUpAccount, lookUpGroup, lookUpUid } from '../account.ts'
import { type ClusterIdentity, connectMs, controllerClient, idleMs } from '../cluster-peers.ts'
import { repeatEvery } from '../repeat-every.ts'
import { createSemaphore, type Semaphore } from '../semaphore.ts'
import { tellTime, tellTimeMs } from './clocks.ts'
import { createConsoles } from './consoles.ts'
import { createControllerLink } from './controller-link.ts'
import { loadMachineCpus, type MachineCpus } from './machine-cpus.ts'
import { sweepMarkers } from './markers.ts'
import { createNodeHandlers } from './node-handlers.ts'
import type { VmMaker } from './ports.ts'
import { openJournal } from './runs/journal.ts'
import { NodeRuns } from './runs/node-runs.ts'
import { createAdmit } from './tasks/admit.ts'
import { createAdmitCall } from './tasks/admit-call.ts'
import { makeCallFolder } from './tasks/call-folder.ts'
import { createTaskProlog } from './tasks/task-prolog.ts'
import { createCloneSources } from './templates/clone-sources.ts'
import { openTemplates, templateSweep } from './templates/open-templates.ts'
import { createTemplateHandlers } from './templates/template-handlers.ts'
import type { Templates } from './templates/templates.ts'
import { underlayAddress } from './underlay.ts'
import { vmFiles } from './vms/domain-of.ts'
import { networkOf } from './vms/network-of.ts'
import { createRunCgroups } from './vms/run-cgroups.ts'
import { createVmMaker, type RunNetworks } from './vms/vm-maker.ts'
import { createVmStarter } from './vms/vm-starter.ts'

/** vmrm.so must know its path, so it is no setting. */
const taskRunner = '/usr/lib/vmrm/vmrm-run'
const ownBinary = '/usr/lib/vmrm/vmrm'
const askVerdictMs = 1000
const adoptMs = 30_000
const consoleCheckMs = 10_000
/** Each question costs the controller a squeue, and a job may keep its marker for days with the off switch set. */
const markerAskMs = 300_000
const markerAgeMs = 60_000

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
  const node = config.node.name ?? hostname().split('.')[0] ?? ''
  await makeFolders(config)
  const markersFolder = join(config.paths.runtime, 'jobs')
  const hypervisor = createLibvirtHypervisor({
    socketPath: config.hypervisor.socket,
    uri: config.hypervisor.uri,
    pidFolder: config.hypervisor.pidFolder,
    cluster: config.cluster.name,
    log,
  })
  const { vxlanPort, underlay, servicesNamespace } = config.network
  // Side by side: jobs wait for a daemon that comes back.
  const [slurmUid, address, machineCpus, peerCredentials, accelerator, qemuGid] = await Promise.all([
    lookUpUid(config.controller.user),
    underlayAddress(node, config.node.underlayDevice),
    loadMachineCpus(),
    loadPeerCredentials(),
    chooseAccelerator({ wanted: config.hypervisor.accelerator, log }),
    lookUpGroup(config.hypervisor.group),
    setUpNodeNetwork({ servicesNamespace, vxlanPort, peers: [underlay] }, { log, signal }),
  ])
  const self: ClusterIdentity = { name: node, ownUid: process.getuid?.() ?? 0, slurmUid }
  const parts = [config.slurm.plugin, taskRunner]
  const health = () =>
    hypervisor.reachability === 'reachable' && parts.every((part) => existsSync(part)) ? 'ready' : 'fault'
  const client = controllerClient(config, self, { idleTimeoutMs: idleMs(config).clientMs, connectTimeoutMs: connectMs })
  const controller = createControllerLink({ client, node, address, health })
  const journal = openJournal({ runsFolder: config.paths.runs, log })
  const maxBytes = config.hypervisor.consoleMaxKib * 1024
  const consoles = createConsoles({ maxBytes, partBytes: consolePartBytes, log })
  const catalogue = openCatalogue(config.paths.images)
  const slurm = createSlurmCommands({ commandsFolder: config.slurm.commands, configFile: config.slurm.config })
  const commands = relayedCommands({
    ...{ allowed: config.relay.commands.split(' '), folder: config.slurm.commands, vmrm: ownBinary },
  })
  const admission = createSemaphore(config.hypervisor.startsAtOnce)
  const templates = await openTemplates({
    ...{ config, hypervisor, admission, accelerator, qemuGid, log },
    images: () => catalogue.images(),
    usedUids: () => runs.all().map((run) => run.entry.qemuUid),
  })
  const maker = createMaker({
    ...{ config, log, node, address, hypervisor, journal, catalogue, commands, machineCpus },
    ...{ admission, accelerator, qemuGid, templates },
  })
  const { prepareSeconds, controllerSeconds, verdictSeconds, reconcileSeconds } = config.timeouts
  const { firstUid, uidCount } = config.hypervisor
  const runs: NodeRuns = new NodeRuns({
    ...{ journal, controller, maker, log, node, firstUid, uidCount, adoptMs },
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
  const tasks = new TaskServer({
    path: join(config.paths.runtime, 'task.sock'),
    log,
    peerCredentials,
    admit: createAdmit({
      findRun: (job) => runs.ofJob(job),
      askVerdict: (run) => void runs.askVerdict(run),
      imageOf: (name) => catalogue.images().get(name),
      machineCpus,
      taskProlog: createTaskProlog({ ask: () => slurm.taskProlog(), log, now: () => Date.now() }),
      verdictMs: verdictSeconds * 1000,
      askEveryMs: askVerdictMs,
      node,
      log,
    }),
    admitCall: createAdmitCall({
      findRun: (job) => runs.ofJob(job),
      commands,
      folderOf: async (entry) => {
        await makeCallFolder(journal.callFolder(entry), entry)
        return journal.callFolder(entry)
      },
      log,
    }),
  })
  hypervisor.onStopped((stopped) => void tellStopped(runs, stopped, config.paths.runs))
  const startMs = Math.round(performance.now() - beganMs)
  const { done } = await runs.recover()
  void done.then((phases) => {
    const ms = Math.round(performance.now() - beganMs)
    log.info('daemon.recovered', { role: 'node', ms, phases: `start=${startMs} ${phases}` })
  })
  await tasks.listen()
  const server = await createServer({
    role: 'node',
    handlers: {
      ...createNodeHandlers({
        ...{ runs, node, markers: markersFolder, health },
        readConsole: (entry, vm, offset) => consoles.read(vmFiles(journal.folder(entry), vm).console, offset),
        trustedUids: [0, slurmUid],
      }),
      ...createTemplateHandlers({ templates, images: () => catalogue.images(), maxMib: config.templates.maxMib }),
    },
    trustedUids: [0, slurmUid],
    log,
    listen: [
      { kind: 'local', path: join(config.paths.runtime, 'node.sock'), peerCredentials },
      {
        ...{ kind: 'munge', host: address, port: config.node.port, name: node, ownUid: self.ownUid },
        munge: { socketPath: config.munge.socket },
      },
    ],
  })
  const reconcile = {
    intervalMs: reconcileSeconds * 1000,
    event: 'reconcile.failed',
    log,
    work: () => runs.reconcile(),
  }
  const caps = {
    intervalMs: consoleCheckMs,
    event: 'console.failed',
    log,
    work: () => consoles.cap(consolePaths(journal, runs)),
  }
  const clocks = {
    intervalMs: tellTimeMs,
    event: 'clocks.failed',
    log,
    work: () => tellTime(runs.all(), Date.now()),
  }
  const markersAsked = new Map<number, number>()
  const markers = {
    intervalMs: reconcileSeconds * 1000,
    event: 'markers.failed',
    log,
    work: () =>
      sweepMarkers({
        folder: markersFolder,
        minimumAgeMs: markerAgeMs,
        asked: markersAsked,
        askAgainMs: markerAskMs,
        hasJob: (job) => runs.ofJob(job) !== undefined,
        endedJobs: (jobs) => controller.endedJobs(jobs),
        now: () => Date.now(),
        log,
      }),
  }
  const stops = [reconcile, caps, clocks, markers, templateSweep(templates, log)].map(repeatEvery)
  hypervisor.onReachability((state) => {
    log[state === 'reachable' ? 'info' : 'error']('hypervisor', { state })
    if (state !== 'reachable') return
    void runs.reconcile().catch(() => {}) // tells the controller at once; the next round repeats it
    void templates.removeStrays().catch(() => {}) // as does the next sweep
  })
  log.info('daemon.ready', { role: 'node', node, address, runs: runs.all().length })
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
  for (const stop of stops) stop()
  await server.close()
  await tasks.close()
  // Nothing else is closed: to a creation under way a libvirt connection that ends looks like a fault of the node.
}

async function tellStopped(runs: NodeRuns, { name, reason }: StoppedVm, runsFolder: string): Promise<void> {
  const text = stopReasonTexts[reason]
  await runs.vmStopped(name, reason === 'io-error' ? `${text}: ${await roomOf(runsFolder)}` : text)
}

async function roomOf(folder: string): Promise<string> {
  const { bavail, bsize } = await statfs(folder)
  return `${folder} has ${Math.floor((bavail * bsize) / 1_048_576)} MiB left`
}

async function makeFolders(config: DaemonConfig): Promise<void> {
  const { runtime, runs } = config.paths
  await mkdir(runtime, { recursive: true, mode: 0o755 })
  await mkdir(join(runtime, 'jobs'), { recursive: true, mode: 0o755 })
  await mkdir(runs, { recursive: true, mode: 0o711 })
  // QEMU's own users must get through to their files, and see no others.
  await chmod(runs, 0o711)
  if (config.nfs.server !== 'none') await mkdir(config.nfs.exportsFolder, { recursive: true, mode: 0o700 })
}

function createMaker(options: {
  config: DaemonConfig
  log: Log
  node: string
  address: string
  hypervisor: Hypervisor
  journal: ReturnType<typeof openJournal>
  catalogue: Catalogue
  commands: ReadonlyMap<string, RelayedCommand>
  machineCpus: MachineCpus
  admission: Semaphore
  accelerator: 'kvm' | 'qemu'
  qemuGid: number
  templates: Templates
}): VmMaker {
  const { config, log, node, address, hypervisor, journal, catalogue, machineCpus } = options
  const { admission, accelerator, qemuGid, templates } = options
  const { servicesNamespace } = config.network
  const cgroups = createRunCgroups({ config, machineCpus, log })
  const networks: RunNetworks = {
    plan: (entry, share, image) => networkOf({ entry, share, image, config, underlay: address }),
    setUp: (plan, signal) => setUpRunNetwork(plan, { log, signal }),
    tearDown: (vni) => tearDownRunNetwork({ vni, servicesNamespace }, { log }),
    list: () => listRunNetworks({ log }),
  }
  const cloneSources = createCloneSources({ templates, journal, machineCpus, qemuGid, log })
  const starter = createVmStarter({
    ...{ config, journal, hypervisor, cgroups, admission, node, accelerator, qemuGid, log },
    commands: [...options.commands.values()].map(({ path }) => path),
  })
  const { server, exportsFolder, pidFile } = config.nfs
  const exports = server === 'ganesha' ? createGanesha({ exportsFolder, pidFile }) : undefined
  const requireParts = async () => {
    for (const part of [config.slurm.plugin, taskRunner]) {
      if (existsSync(part)) continue
      throw new VmrmError('parts-missing', `${part} is missing on node ${node}`)
    }
  }
  return createVmMaker({
    ...{ catalogue, hypervisor, cgroups, exports, networks, starter, cloneSources, requireParts, lookUpAccount, log },
  })
}

function consolePaths(journal: ReturnType<typeof openJournal>, runs: NodeRuns): readonly string[] {
  return runs
    .all()
    .flatMap((run) => [...run.vms.values()].map((vm) => vmFiles(journal.folder(run.entry), vm.index).console))
}

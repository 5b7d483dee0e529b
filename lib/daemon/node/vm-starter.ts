// One VM: its files, its start, its agent's answer and its identity; and the same VM again after a restart of the daemon.
import { chown, mkdir, open, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Image } from '../../config/image-schema.ts'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { GuestChannel } from '../../guest/channel.ts'
import { readImageSize } from '../../image/master.ts'
import { createOverlay } from '../../image/overlay.ts'
import { checkSeed } from '../../image/seed.ts'
import { parseVmName } from '../../job/run.ts'
import type { Log } from '../../log.ts'
import type { Share } from '../../protocol/messages/share.ts'
import { consoleTail as readTail } from '../../vm/console.ts'
import { domainUuid } from '../../vm/domain-uuid.ts'
import { type Hypervisor, stopReasonTexts } from '../../vm/hypervisor.ts'
import type { Account } from '../account.ts'
import type { Semaphore } from '../semaphore.ts'
import { reached } from '../steps.ts'
import { domainOf, type VmFiles, vmFiles } from './domain-of.ts'
import { identityOf } from './identity-of.ts'
import type { Journal, JournalEntry } from './journal.ts'
import type { LiveVm } from './live-run.ts'
import type { RunCgroups } from './run-cgroups.ts'

type PlannedVm = Share['vms'][number]

/** libvirtd tells of a VM's end within this. */
const stopEventMs = 2000

export interface StartRequest {
  readonly entry: JournalEntry
  readonly share: Share
  /** Counts the run's VMs on this node from 0. */
  readonly position: number
  readonly image: Image
  readonly account: Account
}

export interface VmStarter {
  /** Returns when the guest has its identity. Rejects with `vm-boot-timeout`, `vm-start-failed`, `identity-failed` and the console's last lines. */
  start(request: StartRequest, signal: AbortSignal): Promise<LiveVm>
  reconnect(entry: JournalEntry, vm: PlannedVm, signal: AbortSignal): Promise<LiveVm>
  removeFiles(entry: JournalEntry): Promise<void>
  consoleTail(entry: JournalEntry, vm: string): Promise<string>
}

export function createVmStarter(options: {
  config: DaemonConfig
  journal: Journal
  hypervisor: Hypervisor
  cgroups: RunCgroups
  admission: Semaphore
  node: string
  accelerator: 'kvm' | 'qemu'
  qemuGid: number
  /** Paths of the commands that are relayed. */
  commands: readonly string[]
  log: Log
}): VmStarter {
  const { config, journal, hypervisor, cgroups, admission, node, commands, log } = options
  const filesOf = (entry: JournalEntry, index: number) => vmFiles(journal.folder(entry), index)
  const channelOf = (entry: JournalEntry, vm: PlannedVm) =>
    new GuestChannel({ path: filesOf(entry, vm.index).agentSocket, vm: vm.name, log })

  const consoleTail = async (entry: JournalEntry, vm: string) => {
    const index = parseVmName(vm)?.index
    return index === undefined ? '' : readTail(filesOf(entry, index).console)
  }

  const create = async (request: StartRequest, vm: PlannedVm, signal: AbortSignal) => {
    const { entry, share, position, image } = request
    const { accelerator, qemuGid } = options
    const runFolder = journal.folder(entry)
    if (image.os.agent === 'seed') await checkSeed(config.paths.seed)
    await makeFiles(filesOf(entry, vm.index), { image, owner: { uid: entry.qemuUid, gid: qemuGid } })
    await reached('start.files', vm.name)
    const domain = domainOf({ entry, share, position, image, config, accelerator, qemuGid, runFolder })
    // Not abortable: libvirtd would go on with it, and a removal that comes meanwhile would not find it.
    await hypervisor.startPaused(domain)
    await reached('start.created', vm.name)
    signal.throwIfAborted()
    if (config.hypervisor.cgroups === 'own') {
      const pid = await hypervisor.pidOf(vm.name)
      if (pid === undefined) throw new VmrmError('vm-start-failed', `QEMU of VM ${vm.name} ended at once`)
      // Before the guest runs: its memory must be counted from its first page.
      await cgroups.add(entry, pid)
    }
    await reached('start.confined', vm.name)
    await hypervisor.resume(vm.name, { signal })
    await reached('start.resumed', vm.name)
  }

  const boot = async (request: StartRequest, vm: PlannedVm, signal: AbortSignal): Promise<LiveVm> => {
    const { image } = request
    const seconds = image.boot.timeoutSeconds
    const late = new VmrmError(
      'vm-boot-timeout',
      `VM ${vm.name} on node ${node} did not answer within ${seconds} s of its start`,
    )
    const bound = new AbortController()
    const timer = setTimeout(() => bound.abort(late), seconds * 1000)
    const stopped = hypervisor.onStopped(({ name, reason }) => {
      if (name !== vm.name) return
      const text = `VM ${vm.name} on node ${node} ended while it booted: ${stopReasonTexts[reason]}`
      bound.abort(new VmrmError('vm-start-failed', text))
    })
    const channel = channelOf(request.entry, vm)
    const both = AbortSignal.any([signal, bound.signal])
    try {
      const beganMs = performance.now()
      await admission.run(() => create(request, vm, both), both)
      const createdMs = performance.now()
      await channel.open(both)
      await reached('start.answered', vm.name)
      const answeredMs = performance.now()
      const uuid = domainUuid({ cluster: config.cluster.name, vm: vm.name })
      await channel.identify(identityOf({ ...request, run: request.entry, uuid, node, vm, commands }), both)
      await reached('start.identified', vm.name)
      log.info('vm.ready', {
        vm: vm.name,
        createMs: Math.round(createdMs - beganMs),
        bootMs: Math.round(answeredMs - createdMs),
        identityMs: Math.round(performance.now() - answeredMs),
      })
      return { index: vm.index, name: vm.name, hostname: vm.hostname, channel }
    } catch (error) {
      channel.close('not started')
      // A port that closes is only how the end of QEMU looks from here; what ended it comes from libvirt a moment later.
      if (error instanceof VmrmError && error.code === 'vm-lost')
        await delay(stopEventMs, undefined, { signal: both }).catch(() => {})
      throw bound.signal.aborted && !signal.aborted ? bound.signal.reason : error
    } finally {
      clearTimeout(timer)
      stopped()
    }
  }

  return {
    consoleTail,
    async start(request, signal) {
      const vm = request.share.vms[request.position]
      if (vm === undefined) throw new RangeError(`no VM ${request.position}`)
      try {
        return await boot(request, vm, signal)
      } catch (error) {
        throw await explain(error, {
          vm: `VM ${vm.name}`,
          place: `VM ${vm.name} on node ${node}`,
          tail: () => consoleTail(request.entry, vm.name),
        })
      }
    },
    async reconnect(entry, vm, signal) {
      const channel = channelOf(entry, vm)
      await channel.open(signal)
      return { index: vm.index, name: vm.name, hostname: vm.hostname, channel }
    },
    async removeFiles(entry) {
      const folder = journal.folder(entry)
      const names = await readdir(folder).catch(() => [])
      const vms = names.filter((name) => /^v\d+$/.test(name))
      await Promise.all(vms.map((name) => rm(join(folder, name), { recursive: true, force: true })))
    },
  }
}

async function makeFiles(
  files: VmFiles,
  options: { image: Image; owner: { uid: number; gid: number } },
): Promise<void> {
  const { image, owner } = options
  const { path, format } = image.master
  await mkdir(files.folder, { mode: 0o700, recursive: true })
  await chown(files.folder, owner.uid, owner.gid)
  const virtualSizeBytes = await readImageSize(path, format)
  await createOverlay({ path: files.overlay, backingPath: path, backingFormat: format, virtualSizeBytes, owner })
  const console = await open(files.console, 'wx', 0o600)
  try {
    await console.chown(owner.uid, owner.gid)
  } finally {
    await console.close()
  }
}

const withConsoleCodes: readonly string[] = ['vm-boot-timeout', 'vm-start-failed', 'identity-failed', 'vm-lost']

/** Says of which VM and node it tells where the message does not, with the console's last lines where they help. */
async function explain(
  error: unknown,
  options: { vm: string; place: string; tail: () => Promise<string> },
): Promise<unknown> {
  if (!(error instanceof VmrmError) || error.code === 'run-ended') return error
  const { vm, place, tail } = options
  const { code, hint, message } = error
  const console = withConsoleCodes.includes(code) ? await tail() : ''
  const lines = [error.quoted, console].filter((text) => text !== undefined && text !== '')
  const rest = message.startsWith(`${vm} `) ? message.slice(vm.length) : `: ${message}`
  return new VmrmError(code, message.startsWith(place) ? message : `${place}${rest}`, {
    ...{ cause: error, hint },
    ...(lines.length === 0 ? {} : { quoted: lines.join('\n') }),
  })
}

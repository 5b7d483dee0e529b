// One VM: as a clone of a template or by a boot, until its guest has its identity; and the same VM again after a restart of
// the daemon.
import { readdir, rm } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import type { Image } from '../../../config/image-schema.ts'
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { GuestChannel } from '../../../guest/channel/channel.ts'
import { parseVmName } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { consoleTail as readTail } from '../../../vm/console.ts'
import { domainUuid } from '../../../vm/domain-uuid.ts'
import { createSemaphore, type Semaphore } from '../../semaphore.ts'
import { reached } from '../../steps.ts'
import type { JournalEntry } from '../runs/journal.ts'
import type { LiveVm } from '../runs/live-run.ts'
import { copyFolderPrefix } from '../templates/run-copy.ts'
import { createVm, type VmCreatorOptions } from './create-vm.ts'
import { type CloneSource, vmFiles } from './domain-of.ts'
import { endedFor } from './ended-for.ts'
import { identityOf } from './identity-of.ts'
import { withinStart } from './start-bound.ts'
import { explainFailure } from './start-failure.ts'
import type { PlannedVm, StartRequest } from './start-request.ts'

export interface VmStarter {
  /**
   * Returns when the guest has its identity. A clone that does not come up is ended and the VM booted, once. Rejects with
   * `vm-boot-timeout`, `vm-start-failed`, `identity-failed` and the console's last lines.
   */
  start(request: StartRequest, signal: AbortSignal): Promise<LiveVm>
  reconnect(entry: JournalEntry, vm: PlannedVm, signal: AbortSignal): Promise<LiveVm>
  removeFiles(entry: JournalEntry): Promise<void>
  consoleTail(entry: JournalEntry, vm: string): Promise<string>
}

/** A clone answers in well under a second; this is for a node that is very busy, where a boot would take far longer still. */
const cloneSeconds = (image: Image) => Math.max(15, Math.ceil(image.boot.timeoutSeconds / 2))
/** While a node is out of order a boot would fare no better than the clone. */
const noFallbackCodes: readonly string[] = ['libvirt-unreachable', 'run-ended', 'node-disk-full', 'config-invalid']

export interface VmStarterOptions extends VmCreatorOptions {
  readonly admission: Semaphore
  readonly node: string
  /** Paths of the commands that are relayed. */
  readonly commands: readonly string[]
  readonly log: Log
}

export function createVmStarter(options: VmStarterOptions): VmStarter {
  const { config, journal, hypervisor, admission, node, commands, log } = options
  // Clones are awake at once, and many that take their identities together would all be late on a machine of few CPUs.
  const awake = createSemaphore(Math.max(config.hypervisor.startsAtOnce, availableParallelism()))
  /** Of which a clone did not answer in time: those that have waited for it boot, rather than wait as long again. */
  const unanswered = new WeakSet<CloneSource>()
  const filesOf = (entry: JournalEntry, index: number) => vmFiles(journal.folder(entry), index)
  const channelOf = (entry: JournalEntry, vm: PlannedVm) =>
    new GuestChannel({ path: filesOf(entry, vm.index).agentSocket, vm: vm.name, log })

  const consoleTail = async (entry: JournalEntry, vm: string) => {
    const index = parseVmName(vm)?.index
    return index === undefined ? '' : readTail(filesOf(entry, index).console)
  }

  const comeUp = async (
    request: StartRequest,
    vm: PlannedVm,
    { signal, begin }: { signal: AbortSignal; begin: () => void },
  ): Promise<LiveVm> => {
    const { entry, source } = request
    const channel = channelOf(entry, vm)
    try {
      const beganMs = performance.now()
      let opened: Promise<unknown> | undefined
      const resumedMs = await admission.run(async () => {
        begin()
        if (source !== undefined && unanswered.has(source))
          throw new VmrmError(
            'vm-boot-timeout',
            `VM ${vm.name} was not cloned, since other clones of its template did not answer in time`,
          )
        await createVm(options, { request, vm, signal })
        // The guest of a clone is awake at once, and should meet a port that somebody listens at.
        if (source !== undefined) opened = channel.open(signal)
        opened?.catch(() => {}) // it is awaited below
        await hypervisor.resume(vm.name, { signal })
        await reached('start.resumed', vm.name)
        return performance.now()
      }, signal)
      await (opened ?? channel.open(signal))
      await reached('start.answered', vm.name)
      const answeredMs = performance.now()
      const uuid = domainUuid({ cluster: config.cluster.name, vm: vm.name })
      const identity = identityOf({ ...request, run: entry, uuid, node, vm, commands })
      const identityPhases = await channel.identify(identity, signal)
      // The identity's time is that of its beginning.
      channel.tellTime(BigInt(Date.now()) * 1_000_000n)
      await reached('start.identified', vm.name)
      log.info('vm.ready', {
        vm: vm.name,
        how: source === undefined ? 'boot' : 'clone',
        createMs: Math.round(resumedMs - beganMs),
        bootMs: Math.round(answeredMs - resumedMs),
        identityMs: Math.round(performance.now() - answeredMs),
        identityPhases,
      })
      return { index: vm.index, name: vm.name, hostname: vm.hostname, channel }
    } catch (error) {
      channel.close('not started')
      // Before the next one has its turn.
      const isLate = toVmrmError(signal.aborted ? signal.reason : error).code === 'vm-boot-timeout'
      if (isLate && source !== undefined) unanswered.add(source)
      throw error
    }
  }

  const startIn = (request: StartRequest, vm: PlannedVm, seconds: number, signal: AbortSignal): Promise<LiveVm> => {
    const place = `VM ${vm.name} on node ${node}`
    const late = new VmrmError('vm-boot-timeout', `${place} did not answer within ${seconds} s of its start`)
    const doing = request.source === undefined ? 'booted' : 'was cloned'
    const bound = { hypervisor, name: vm.name, place, doing, seconds, late, signal }
    return withinStart(bound, (both, begin) => {
      const work = () => comeUp(request, vm, { signal: both, begin })
      return request.source === undefined ? work() : awake.run(work, both)
    })
  }

  /** Undefined when the clone did not come up and nothing of it is left. */
  const tryClone = async (request: StartRequest, vm: PlannedVm, signal: AbortSignal): Promise<LiveVm | undefined> => {
    const ended = endedFor(hypervisor, vm.name)
    try {
      return await startIn(request, vm, cloneSeconds(request.image), signal)
    } catch (error) {
      const problem = toVmrmError(error)
      if (signal.aborted || noFallbackCodes.includes(problem.code)) throw error
      const { code, message, quoted } = problem
      log.warn('clone.failed', { vm: vm.name, code, text: message, ...(quoted === undefined ? {} : { quoted }) })
      await ended.destroy()
      await rm(filesOf(request.entry, vm.index).folder, { recursive: true, force: true })
      signal.throwIfAborted()
      request.onFallback(problem)
      return undefined
    } finally {
      ended.close()
    }
  }

  return {
    consoleTail,
    async start(request, signal) {
      const vm = request.share.vms[request.position]
      if (vm === undefined) throw new RangeError(`no VM ${request.position}`)
      try {
        const clone = request.source === undefined ? undefined : await tryClone(request, vm, signal)
        if (clone !== undefined) return clone
        return await startIn({ ...request, source: undefined }, vm, request.image.boot.timeoutSeconds, signal)
      } catch (error) {
        throw await explainFailure(error, {
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
      const mine = names.filter((name) => /^v\d+$/.test(name) || name.startsWith(copyFolderPrefix))
      await Promise.all(mine.map((name) => rm(join(folder, name), { recursive: true, force: true })))
    },
  }
}

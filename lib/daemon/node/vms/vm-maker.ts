// Makes all that a run has on this node, finds it again after a restart, and removes it. Each part has an inverse that works
// from the run's names alone, so a half-made run is removed like a whole one.
import { access, readFile } from 'node:fs/promises'
import type { Image } from '../../../config/image-schema.ts'
import type { Catalogue } from '../../../config/load.ts'
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { ExportServer } from '../../../network/nfs-export.ts'
import type { RunNetworkPlan } from '../../../network/run-plan.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import type { Account } from '../../account.ts'
import { allOrFirstError } from '../../all-or-first-error.ts'
import { reached } from '../../steps.ts'
import type { Usage, VmMaker } from '../ports.ts'
import type { JournalEntry } from '../runs/journal.ts'
import type { LiveRun, LiveVm } from '../runs/live-run.ts'
import type { CloneSources } from '../templates/clone-sources.ts'
import { adoptVms } from './adopt-vms.ts'
import { allOrStopped } from './all-or-stopped.ts'
import { exportedFolders } from './identity-of.ts'
import { listBriefly } from './list-briefly.ts'
import type { RunCgroups } from './run-cgroups.ts'
import { runOfVm } from './run-of-vm.ts'
import type { StartRequest } from './start-request.ts'
import { startVms } from './start-vms.ts'
import { removeStrays } from './strays.ts'
import type { VmStarter } from './vm-starter.ts'

export interface VmMakerOptions {
  readonly catalogue: Catalogue
  readonly hypervisor: Hypervisor
  readonly cgroups: RunCgroups
  readonly exports: ExportServer | undefined
  readonly networks: RunNetworks
  readonly starter: VmStarter
  readonly cloneSources: CloneSources
  /** Throws `parts-missing` where a part is missing without which a task of a VM job could run on the host. */
  readonly requireParts: () => Promise<void>
  readonly lookUpAccount: (user: string | number) => Promise<Account>
  readonly log: Log
}

/** The run's network, by plan and by number. */
export interface RunNetworks {
  plan(entry: JournalEntry, share: Share, image: Image): RunNetworkPlan
  setUp(plan: RunNetworkPlan, signal: AbortSignal): Promise<void>
  tearDown(vni: number): Promise<void>
  /** VNIs of which something is there. */
  list(): Promise<readonly number[]>
}

const noUsage: Usage = { peakMemoryBytes: 0, cpuTimeNs: 0 }

export function createVmMaker(options: VmMakerOptions): VmMaker {
  const { hypervisor, cgroups, exports, networks, starter, cloneSources, log } = options

  const make = async (run: LiveRun, share: Share, signal: AbortSignal): Promise<readonly LiveVm[]> => {
    const { entry } = run
    const image = imageOf(options.catalogue, share)
    await options.requireParts()
    await requireHypervisor(hypervisor, signal)
    // The name service answers in its own time, which the network need not wait for.
    const lookUp = options.lookUpAccount(entry.uid)
    const [sourceOf, account] = await allOrStopped(signal, (both) => [
      // May take as long as a boot; the others are soon done.
      cloneSources.prepare({ entry, share, image }, both).then(async (sources) => {
        await reached('prepare.templates', run.name)
        return sources
      }),
      lookUp.then(async (found) => {
        await addExports(exports, entry, share, image, found)
        await reached('prepare.export', run.name)
        return found
      }),
      timed(log, run.name, 'network', () => networks.setUp(networks.plan(entry, share, image), signal)).then(() =>
        reached('prepare.network', run.name),
      ),
      cgroups.create(entry, share).then(() => reached('prepare.cgroup', run.name)),
    ])
    return startVms({
      ...{ run, log, strategy: share.strategy ?? 'all-or-nothing', vms: share.vms },
      start: (position, signal) => {
        const vm = share.vms[position] as Share['vms'][number]
        return startOne(run, { entry, share, position, image, account, source: sourceOf(vm) }, signal)
      },
      destroy: (name) => hypervisor.destroy(name),
      signal,
    })
  }

  const startOne = async (run: LiveRun, request: Omit<StartRequest, 'onFallback'>, signal: AbortSignal) => {
    let problem: VmrmError | undefined
    const onFallback = (of: VmrmError) => {
      problem = of
      run.endedEarly.delete(request.share.vms[request.position]?.name ?? '')
    }
    const vm = await starter.start({ ...request, onFallback }, signal)
    // That the same VM boots tells a bad template from a bad image or node.
    if (problem !== undefined && request.source !== undefined) await cloneSources.distrust(request.source, problem)
    return vm
  }

  const vmsOf = async (run: string) => {
    const listed = await listBriefly(hypervisor, cgroups)
    return listed === 'unreachable' ? listed : listed.filter((vm) => runOfVm(vm.name) === run)
  }

  /** `unreachable`: their end is their cgroup's, so that a job's end need not wait for libvirtd. */
  const destroyAll = async (run: string): Promise<'destroyed' | 'unreachable'> => {
    const mine = await vmsOf(run)
    if (mine === 'unreachable') return mine
    try {
      await Promise.all(mine.map((vm) => hypervisor.destroy(vm.name)))
      return 'destroyed'
    } catch (error) {
      if (cgroups.kind === 'own' && toVmrmError(error).code === 'libvirt-unreachable') return 'unreachable'
      throw error
    }
  }

  /** Without libvirtd: a QEMU that its creation has not moved into the run's group yet must end with it, too. */
  const confineAll = async (entry: JournalEntry): Promise<void> => {
    for (const { name } of entry.share?.vms ?? []) {
      const pid = await hypervisor.pidOf(name)
      if (pid === undefined || !(await isQemuOf(pid, name))) continue
      // One that has ended meanwhile cannot be moved, and need not be.
      await cgroups.add(entry, pid).catch(async (error: unknown) => {
        if (await isQemuOf(pid, name)) throw error
      })
    }
  }

  const remove = async (entry: JournalEntry): Promise<Usage> => {
    const run = runId(entry)
    const outcome = await destroyAll(run)
    if (outcome === 'unreachable') await confineAll(entry)
    await reached('remove.destroyed', run)
    const usage = (await cgroups.usage(entry)) ?? noUsage
    await cgroups.remove(entry)
    await reached('remove.cgroup', run)
    await allOrFirstError([
      exports?.remove(run) ?? Promise.resolve(),
      entry.share === undefined ? Promise.resolve() : networks.tearDown(entry.share.vni),
      starter.removeFiles(entry),
    ])
    await reached('remove.parts', run)
    const left = outcome === 'unreachable' ? outcome : await vmsOf(run)
    if (left === 'unreachable' || left.length === 0) return usage
    throw new VmrmError('node-fault', `VMs ${left.map((vm) => vm.name).join(', ')} cannot be destroyed`)
  }

  const destroyVm = async (vm: string) => void (await hypervisor.destroy(vm))
  return {
    make,
    adopt: (run, share, signal) => adoptVms(run, share, { hypervisor, starter, log, signal }),
    remove,
    destroyVm,
    removeStrays: (known) => removeStrays(known, options),
    consoleTail: (entry, vm) => starter.consoleTail(entry, vm),
  }
}

/** The file that tells a pid outlives its process while libvirtd is away, and the number may be another's by then. */
async function isQemuOf(pid: number, vm: string): Promise<boolean> {
  const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return command.split('\0').some((word) => word.startsWith(`guest=${vm},`))
}

function imageOf(catalogue: Catalogue, share: Share): Image {
  const image = catalogue.images().get(share.image.name)
  if (image === undefined || image.revision !== share.image.revision) {
    const here = image === undefined ? 'is not in its catalogue' : `has revision ${image.revision} in its catalogue`
    throw new VmrmError(
      'image-unknown',
      `this node cannot make image ${share.image.name}@${share.image.revision}: it ${here}`,
    )
  }
  return image
}

async function requireHypervisor(hypervisor: Hypervisor, signal: AbortSignal): Promise<void> {
  try {
    await hypervisor.list({ signal })
  } catch (error) {
    if (toVmrmError(error).code !== 'libvirt-unreachable') throw error
    throw new VmrmError('libvirt-unreachable', 'libvirtd does not answer on this node', { cause: error })
  }
}

async function addExports(
  exports: ExportServer | undefined,
  entry: JournalEntry,
  share: Share,
  image: Image,
  account: Account,
): Promise<void> {
  const folders = exportedFolders(image)
  if (folders.length === 0) return
  if (exports === undefined) {
    throw new VmrmError('config-invalid', `image ${image.name} wants exports, but vmrmd.xml names no NFS server`)
  }
  for (const { path } of folders) {
    await access(path).catch((cause: unknown) => {
      throw new VmrmError('config-invalid', `image ${image.name} wants ${path} exported, which this node has not`, {
        cause,
      })
    })
  }
  const addresses = share.vms.map((vm) => vm.address)
  await exports.add({ run: runId(entry), uid: account.uid, gid: share.gid, addresses, folders })
}

async function timed<T>(log: Log, run: string, phase: string, work: () => Promise<T>): Promise<T> {
  const beganMs = performance.now()
  const result = await work()
  log.debug('phase.done', { run, phase, ms: Math.round(performance.now() - beganMs) })
  return result
}

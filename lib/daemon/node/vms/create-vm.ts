// One VM up to the point where its guest may run: files, a paused QEMU in the run's cgroup, and a clone's state. It never lets the
// guest run, and removes nothing: what is half made is found by the VM's name.
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { checkSeed } from '../../../image/seed.ts'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import { reached } from '../../steps.ts'
import type { Journal } from '../runs/journal.ts'
import { domainOf, vmFiles } from './domain-of.ts'
import { makeVmFiles } from './make-vm-files.ts'
import type { RunCgroups } from './run-cgroups.ts'
import type { PlannedVm, StartRequest } from './start-request.ts'

export interface VmCreatorOptions {
  readonly config: DaemonConfig
  readonly journal: Journal
  readonly hypervisor: Hypervisor
  readonly cgroups: RunCgroups
  readonly accelerator: 'kvm' | 'qemu'
  readonly qemuGid: number
}

/** To a QEMU in its cgroup whose guest has not run yet (or, of a clone, not gone on). */
export async function createVm(
  options: VmCreatorOptions,
  { request, vm, signal }: { request: StartRequest; vm: PlannedVm; signal: AbortSignal },
): Promise<void> {
  const { config, journal, hypervisor, cgroups, accelerator, qemuGid } = options
  const { entry, image, source } = request
  if (image.os.agent === 'seed') await checkSeed(config.paths.seed)
  const owner = { uid: entry.qemuUid, gid: qemuGid }
  await makeVmFiles(vmFiles(journal.folder(entry), vm.index), { image, owner, source })
  await reached('start.files', vm.name)
  const domain = domainOf({ ...request, config, accelerator, qemuGid, runFolder: journal.folder(entry) })
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
  if (source === undefined) return
  await hypervisor.load(vm.name, source.state, { signal })
  await reached('start.loaded', vm.name)
}

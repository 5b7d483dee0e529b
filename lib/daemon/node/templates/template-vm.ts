// A template from a boot of its own: a VM without job, user, mount, key or address, under a uid and in a cgroup that nobody
// else has, saved when its agent is ready. What it makes has an inverse that works from the VM's name alone.
import { randomBytes } from 'node:crypto'
import { chown, writeFile } from 'node:fs/promises'
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { GuestChannel } from '../../../guest/channel/channel.ts'
import { readImageSize } from '../../../image/master.ts'
import { createOverlay } from '../../../image/overlay.ts'
import { checkSeed } from '../../../image/seed.ts'
import type { Log } from '../../../log.ts'
import { Ed25519Key, seedBytes } from '../../../ssh/ed25519.ts'
import { privateKeyFile } from '../../../ssh/private-key-file.ts'
import { createRunCgroup, listRunCgroups, openRunCgroup } from '../../../vm/cgroup.ts'
import { consoleTail } from '../../../vm/console.ts'
import type { Hypervisor } from '../../../vm/hypervisor.ts'
import { isTemplateName, templateName, templateTapName } from '../../../vm/template-name.ts'
import type { Semaphore } from '../../semaphore.ts'
import { reached } from '../../steps.ts'
import { templateDomainOf, type VmFiles, vmFilesIn } from '../vms/domain-of.ts'
import { makeConsole } from '../vms/make-vm-files.ts'
import { pidsPerVm, removeMs } from '../vms/run-cgroups.ts'
import { withinStart } from '../vms/start-bound.ts'
import { explainFailure } from '../vms/start-failure.ts'
import type { TemplatePlan } from './describe-template.ts'
import type { TemplateFiles } from './template-folder.ts'

/** Network cards of templates. */
export interface TemplateTaps {
  add(name: string, uid: number): Promise<void>
  /** It is fine if there is none. */
  remove(name: string): Promise<void>
  list(): Promise<readonly string[]>
}

export interface TemplateVmOptions {
  readonly config: DaemonConfig
  readonly hypervisor: Hypervisor
  readonly taps: TemplateTaps
  readonly admission: Semaphore
  readonly log: Log
}

export interface MakeRequest {
  readonly plan: TemplatePlan
  readonly files: TemplateFiles
  readonly uid: number
  /** Of the run that wants it first: what it costs is that run's. */
  readonly cpus?: readonly number[] | undefined
  readonly signal: AbortSignal
}

export interface TemplateVm {
  /** Memory, disk and state are in `files`, and the VM is gone. After a failure call `remove`. */
  make(request: MakeRequest): Promise<{ bootMs: number; saveMs: number }>
  /** Removes all of it but the files; safe to repeat. */
  remove(name: string): Promise<void>
  /** Names of VMs of which there is anything. */
  list(): Promise<readonly string[]>
}

const prepareMs = 90_000
/** What the boot of a distribution still does when its agent answers; within it, and within the image's own bound. */
const restMs = 45_000

export function createTemplateVm(options: TemplateVmOptions): TemplateVm {
  const { config, hypervisor, taps, admission, log } = options
  const parent = config.hypervisor.cgroupParent
  const ownCgroups = config.hypervisor.cgroups === 'own'

  const confine = async (name: string, { plan, cpus }: MakeRequest) => {
    if (!ownCgroups) return
    const memoryMib = plan.subject.memoryMib + config.hypervisor.overheadMib
    const limits = { memoryMib, pidsMax: pidsPerVm, ...(cpus === undefined ? {} : { cpus }) }
    const { group, skipped } = await createRunCgroup({ parent, run: name, limits })
    for (const limit of skipped) log.warn('cgroup.limit-skipped', { template: name, limit })
    const pid = await hypervisor.pidOf(name)
    if (pid === undefined) throw new VmrmError('vm-start-failed', `QEMU of ${name} ended at once`)
    await group.add(pid)
  }

  /** To a QEMU that is paused, in a cgroup of its own. */
  const create = async (request: MakeRequest, vm: VmFiles) => {
    const { plan, files, uid } = request
    const { machine, key, subject } = plan
    const { path, format } = machine.image.master
    const name = templateName(key)
    const owner = { uid, gid: machine.qemuGid }
    if (machine.image.os.agent === 'seed') await checkSeed(config.paths.seed)
    await writeFile(files.ram, '', { flag: 'wx', mode: 0o600 })
    await chown(files.ram, owner.uid, owner.gid)
    const virtualSizeBytes = await readImageSize(path, format)
    await createOverlay({ path: files.disk, backingPath: path, backingFormat: format, virtualSizeBytes, owner })
    await makeConsole(vm.console, owner)
    await taps.add(templateTapName(name), uid)
    await reached('template.begun', name)
    await hypervisor.startPaused(templateDomainOf({ ...machine, key, size: subject, files, uid }))
    await confine(name, request)
    await reached('template.created', name)
  }

  const remove = async (name: string) => {
    await hypervisor.destroy(name)
    if (ownCgroups) await (await openRunCgroup({ parent, run: name })).killAndRemove({ timeoutMs: removeMs })
    await taps.remove(templateTapName(name))
  }

  const make = async (request: MakeRequest) => {
    const { plan, files } = request
    const { image } = plan.machine
    const name = templateName(plan.key)
    const place = `VM ${name}, which was to become a template of image ${image.name},`
    const seconds = image.boot.timeoutSeconds
    const late = new VmrmError('vm-boot-timeout', `${place} did not answer within ${seconds} s of its start`)
    const vm = vmFilesIn(files.folder)
    const channel = new GuestChannel({ path: vm.agentSocket, vm: name, log })
    try {
      const bound = { hypervisor, name, place, doing: 'booted', seconds, late, signal: request.signal }
      const bootMs = await withinStart(bound, async (signal, begin) => {
        const beganMs = performance.now()
        await admission.run(async () => {
          begin()
          await create(request, vm)
          await hypervisor.resume(name, { signal })
        }, signal)
        await channel.open(signal)
        await channel.prepareTemplate(AbortSignal.any([signal, AbortSignal.timeout(prepareMs)]), {
          restMs,
          sshHostKey: privateKeyFile(new Ed25519Key(randomBytes(seedBytes)), 'template'),
        })
        return performance.now() - beganMs
      })
      channel.close('it becomes a template')
      await reached('template.booted', name)
      const savingMs = performance.now()
      await hypervisor.saveTemplate(name, files.state, { signal: request.signal })
      const saveMs = performance.now() - savingMs
      await remove(name)
      await reached('template.saved', name)
      return { bootMs, saveMs }
    } catch (error) {
      channel.close('not made')
      throw await explainFailure(error, { vm: `VM ${name}`, place, tail: () => consoleTail(vm.console) })
    }
  }

  return {
    make,
    remove,
    async list() {
      const [vms, cgroups, cards] = await Promise.all([
        hypervisor.list(),
        ownCgroups ? listRunCgroups({ parent }) : [],
        taps.list(),
      ])
      const names = [...vms.map((vm) => vm.name), ...cgroups, ...cards.map((card) => card.slice(1))]
      return [...new Set(names)].filter(isTemplateName)
    },
  }
}

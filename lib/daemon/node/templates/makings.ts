// The templates that are being made on a node: each once, however many wait for it, under a uid of its own. What could not be
// made is remembered, and nothing of it is left.
import { statfs } from 'node:fs/promises'
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import type { Log } from '../../../log.ts'
import { templateName } from '../../../vm/template-name.ts'
import { orAborted } from '../../or-aborted.ts'
import { reached } from '../../steps.ts'
import type { Machine } from '../vms/domain-of.ts'
import type { TemplatePlan } from './describe-template.ts'
import type { Failures } from './failures.ts'
import type { StoredTemplate, TemplateStore } from './store.ts'
import type { TemplateSubject } from './template-folder.ts'
import type { TemplateVm } from './template-vm.ts'

export interface TemplateWish {
  readonly image: Image
  readonly size: { readonly vcpus: number; readonly memoryMib: number }
  /** The user whose VMs are to come from it. */
  readonly uid: number
  /** Where it may be made, if it must be. */
  readonly cpus?: readonly number[] | undefined
}

export interface MakingsOptions {
  readonly config: DaemonConfig
  readonly store: TemplateStore
  readonly vm: TemplateVm
  readonly machine: Omit<Machine, 'image'>
  /** uids that QEMUs of runs have. */
  readonly usedUids: () => Iterable<number>
  readonly failures: Failures
  readonly log: Log
}

interface Making {
  readonly key: string
  readonly uid: number
  readonly subject: TemplateSubject
  readonly done: Promise<StoredTemplate>
  /** How many want it; when the last of them gives up, it ends: its CPUs may be another job's by then. */
  waiters: number
  readonly stop: AbortController
}

/** Left on the disk beside a template's memory, should all of that be written. */
const spareMib = 512
const bytesPerMib = 1_048_576
/** Beyond the boot: for its place in the queue, and for saving. */
const savingMs = 180_000
const passingCodes: readonly string[] = ['libvirt-unreachable', 'libvirt-timeout', 'range-full', 'run-ended']

export class Makings {
  readonly #options: MakingsOptions
  /** By key. */
  readonly #making = new Map<string, Making>()

  constructor(options: MakingsOptions) {
    this.#options = options
  }

  all(): readonly Pick<Making, 'key' | 'uid' | 'subject'>[] {
    return [...this.#making.values()]
  }

  has(key: string): boolean {
    return this.#making.has(key)
  }

  /**
   * Waits until it is made, and begins that where nobody has. Undefined: one that nobody waited for any more has ended
   * meanwhile. Rejects with what is in the way, or with the signal's reason; the making goes on then, if somebody else waits.
   */
  async join(plan: TemplatePlan, wish: TemplateWish, signal: AbortSignal): Promise<StoredTemplate | undefined> {
    const known = this.#making.get(plan.key)
    if (known?.stop.signal.aborted !== true) return awaitMaking(known ?? this.#begin(plan, wish), signal)
    await known.done.catch(() => {}) // it was given up: how it failed is nobody's
    return undefined
  }

  #begin(plan: TemplatePlan, wish: TemplateWish): Making {
    const uid = this.#freeUid()
    const stop = new AbortController()
    const done = this.#makeOnce(plan, { wish, uid, stop: stop.signal }).finally(() => this.#making.delete(plan.key))
    done.catch(() => {}) // whoever waits is told, and the log has it
    const making = { key: plan.key, uid, subject: plan.subject, done, waiters: 0, stop }
    this.#making.set(plan.key, making)
    return making
  }

  async #makeOnce(
    plan: TemplatePlan,
    { wish, uid, stop }: { wish: TemplateWish; uid: number; stop: AbortSignal },
  ): Promise<StoredTemplate> {
    const { store, vm, machine, log } = this.#options
    const { key, subject, parts } = plan
    const name = templateName(key)
    log.info('template.making', { key, vm: name, ...subject })
    try {
      await this.#requireRoom(subject.memoryMib)
      // A making that a crash cut short: the sweep leaves alone what is being made.
      await vm.remove(name)
      const files = await store.begin(key, { uid, gid: machine.qemuGid })
      const signal = AbortSignal.any([stop, AbortSignal.timeout(wish.image.boot.timeoutSeconds * 1000 + savingMs)])
      const { bootMs, saveMs } = await vm.make({ plan, files, uid, cpus: wish.cpus, signal })
      const { template, settled } = await store.publish({ subject, parts, diskGid: machine.qemuGid })
      await reached('template.published', name)
      settled.catch((error: unknown) => log.warn('template.not-settled', { key, text: String(error) }))
      const mib = Math.round(template.bytes / bytesPerMib)
      log.info('template.made', { key, vm: name, mib, bootMs: Math.round(bootMs), saveMs: Math.round(saveMs) })
      if (template.bytes > this.#options.config.templates.maxMib * bytesPerMib) await this.#refuseSize(template)
      return template
    } catch (thrown) {
      throw await this.#notMade(plan, toVmrmError(thrown))
    }
  }

  /** Makes it known, forgets it for a while, and leaves nothing of it. */
  async #notMade({ key, subject }: TemplatePlan, error: VmrmError): Promise<VmrmError> {
    const { store, vm, log } = this.#options
    const { code, message, quoted } = error
    log.warn('template.failed', { key, image: subject.image, code, text: message, ...(quoted && { quoted }) })
    // A node that is out of order says nothing about the image.
    if (!passingCodes.includes(code)) this.#options.failures.add(key, message)
    const clean = async () => {
      await vm.remove(templateName(key))
      await store.abandon(key)
    }
    // The sweep tries again what cannot be removed now.
    await clean().catch((cause: unknown) => log.error('template.not-removed', { key, text: String(cause) }))
    return error
  }

  async #requireRoom(memoryMib: number): Promise<void> {
    const { templates } = this.#options.config.paths
    const { bavail, bsize } = await statfs(templates)
    const freeMib = Math.floor((bavail * bsize) / bytesPerMib)
    if (freeMib >= memoryMib + spareMib) return
    const text = `${templates} has ${freeMib} MiB free, too little for a template of ${memoryMib} MiB`
    throw new VmrmError('node-disk-full', text)
  }

  async #refuseSize({ key, bytes }: StoredTemplate): Promise<never> {
    await this.#options.store.remove(key)
    const text = `the template takes ${Math.ceil(bytes / bytesPerMib)} MiB, more than templates/@max-mib allows`
    throw new VmrmError('template-failed', text)
  }

  /** Runs take theirs from the other end of the range. */
  #freeUid(): number {
    const { config, usedUids } = this.#options
    const { firstUid, uidCount } = config.hypervisor
    const used = new Set([...usedUids(), ...[...this.#making.values()].map(({ uid }) => uid)])
    for (let uid = firstUid + uidCount - 1; uid >= firstUid; uid -= 1) if (!used.has(uid)) return uid
    throw new VmrmError('range-full', `all ${uidCount} uids for QEMU are in use`)
  }
}

/** Waits for it, but no longer than the caller may. */
async function awaitMaking(making: Making, signal: AbortSignal): Promise<StoredTemplate> {
  making.waiters += 1
  try {
    return await orAborted(making.done, signal)
  } finally {
    making.waiters -= 1
    if (making.waiters === 0) making.stop.abort(new VmrmError('run-ended', 'nobody waits for the template any more'))
  }
}

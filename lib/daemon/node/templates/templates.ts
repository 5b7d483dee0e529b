// The templates of a node: found, made once however many want one, forgotten, and kept within their room. It never fails a
// job: whoever gets no template boots.
import { statfs } from 'node:fs/promises'
import type { DaemonConfig } from '../../../config/daemon-schema.ts'
import type { Image } from '../../../config/image-schema.ts'
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { chooseEvictions } from '../../../image/template/eviction.ts'
import type { Log } from '../../../log.ts'
import { templateName } from '../../../vm/template-name.ts'
import { orAborted } from '../../or-aborted.ts'
import { reached } from '../../steps.ts'
import type { Machine } from '../domain-of.ts'
import { describeTemplate, type TemplatePlan } from './describe-template.ts'
import { createFailures } from './failures.ts'
import { whyBooted } from './may-clone.ts'
import { whyStale } from './stale.ts'
import type { StoredTemplate, TemplateStore, TemplateSubject } from './store.ts'
import type { TemplateVm } from './template-vm.ts'

export interface TemplateWish {
  readonly image: Image
  readonly size: { readonly vcpus: number; readonly memoryMib: number }
  /** The user whose VMs are to come from it. */
  readonly uid: number
  /** Where it may be made, if it must be. */
  readonly cpus?: readonly number[] | undefined
}

export type TemplateAnswer =
  | { readonly kind: 'template'; readonly template: StoredTemplate; readonly how: 'found' | 'made' }
  /** VMs boot, for this reason. */
  | { readonly kind: 'none'; readonly why: string }

export interface TemplatesOptions {
  readonly config: DaemonConfig
  readonly store: TemplateStore
  readonly vm: TemplateVm
  readonly images: () => ReadonlyMap<string, Image>
  readonly machine: Omit<Machine, 'image'>
  readonly hypervisorVersion: () => Promise<string>
  /** uids that QEMUs of runs have. */
  readonly usedUids: () => Iterable<number>
  readonly log: Log
  readonly now: () => number
}

interface Making {
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

export class Templates {
  readonly #options: TemplatesOptions
  readonly #failures
  /** Under way, by key. */
  readonly #making = new Map<string, Making>()

  constructor(options: TemplatesOptions) {
    this.#options = options
    this.#failures = createFailures(options.now)
  }

  /**
   * The template that a VM is to be cloned from: at once where there is one, else when it has been made, or could not be.
   * Rejects with the signal's reason only; the making goes on then, if somebody else waits for it.
   */
  async obtain(wish: TemplateWish, signal: AbortSignal): Promise<TemplateAnswer> {
    const { config, log } = this.#options
    const refused = whyBooted(wish.image, wish.size.memoryMib, config)
    if (refused !== undefined) return { kind: 'none', why: refused }
    try {
      const plan = await this.#plan(wish)
      const failure = this.#failures.find(plan.key)
      if (failure !== undefined) return { kind: 'none', why: `none could be made a while ago: ${failure.reason}` }
      return { kind: 'template', ...(await this.#findOrMake(plan, wish, signal)) }
    } catch (thrown) {
      signal.throwIfAborted()
      const { code, message } = toVmrmError(thrown)
      if (code === 'internal') log.error('template.internal', { image: wish.image.name, text: message })
      return { kind: 'none', why: message }
    }
  }

  /** The same for an administrator, who wants to know: tries again what has failed, and rejects with what is in the way. */
  async require(wish: TemplateWish, signal: AbortSignal): Promise<{ template: StoredTemplate; how: 'found' | 'made' }> {
    const refused = whyBooted(wish.image, wish.size.memoryMib, this.#options.config)
    if (refused !== undefined) throw new VmrmError('template-impossible', `No template can be made: ${refused}.`)
    const plan = await this.#plan(wish)
    this.#failures.forget(plan.key)
    return this.#findOrMake(plan, wish, signal)
  }

  /** Gives `work` its files, which nobody removes meanwhile. */
  async use<T>(template: StoredTemplate, work: (template: StoredTemplate) => Promise<T>): Promise<T> {
    const { store } = this.#options
    const release = store.hold(template.key)
    try {
      const result = await work(template)
      await store.recordUse(template.key)
      return result
    } finally {
      release()
    }
  }

  /** VMs that were cloned from it did not come up and booted well: it goes, and is not made again for a while. */
  async distrust(key: string, problem: VmrmError): Promise<void> {
    this.#failures.add(key, problem.message)
    const outcome = await this.#options.store.remove(key)
    this.#options.log.warn('template.distrusted', { key, outcome, text: problem.message })
  }

  /** All that there are, with the reason why no VM of now would come from one. */
  async list(): Promise<readonly { template: StoredTemplate; stale: string | undefined }[]> {
    const hypervisorVersion = await this.#options.hypervisorVersion().catch(() => undefined)
    const { store, config, images, machine } = this.#options
    const current = images()
    return Promise.all(
      store.all().map(async (template) => ({
        template,
        stale: await whyStale(template, { config, images: current, machine, hypervisorVersion }),
      })),
    )
  }

  /** Removes those of an image, or all, but what is being copied right now; failures are forgotten too. */
  async forget(image: string | undefined): Promise<{ removed: number; held: number }> {
    const { store, log } = this.#options
    this.#failures.clear()
    const outcomes: string[] = []
    for (const { key, subject } of store.all()) {
      if (image !== undefined && subject.image !== image) continue
      const outcome = await store.remove(key)
      log.info('template.forgotten', { key, image: subject.image, outcome })
      outcomes.push(outcome)
    }
    const count = (wanted: string) => outcomes.filter((outcome) => outcome === wanted).length
    return { removed: count('removed'), held: count('held') }
  }

  /** Removes what a making has left that nobody is about any more, as after a crash of this daemon or of libvirtd. */
  async removeStrays(): Promise<void> {
    const { vm, store, log } = this.#options
    for (const name of await vm.list()) {
      // Asked at the last moment: a making that has begun meanwhile is known before there is anything of it.
      if ([...this.#making.keys()].some((key) => templateName(key) === name)) continue
      log.warn('stray.template', { vm: name })
      await vm.remove(name)
    }
    // No QEMU has them open any more.
    for (const key of await store.unfinished()) if (!this.#making.has(key)) await store.abandon(key)
  }

  /** Removes what there is no room for, the stale ones first. */
  async keepWithinRoom(): Promise<void> {
    const { store, config, log } = this.#options
    const room = config.templates.maxMib * bytesPerMib
    if (store.all().reduce((sum, { bytes }) => sum + bytes, 0) <= room) return
    const listed = await this.list()
    const evictable = listed.map(({ template: { key, bytes, usedMs, isHeld }, stale }) => ({
      ...{ key, bytes, usedMs },
      state: isHeld ? ('held' as const) : stale === undefined ? ('fresh' as const) : ('stale' as const),
    }))
    for (const key of chooseEvictions(evictable, room)) {
      const outcome = await store.remove(key)
      log.info('template.evicted', { key, outcome })
    }
  }

  async #plan(wish: TemplateWish): Promise<TemplatePlan> {
    const { machine, hypervisorVersion } = this.#options
    return describeTemplate({
      ...{ machine: { ...machine, image: wish.image }, size: wish.size, uid: wish.uid },
      hypervisorVersion: await hypervisorVersion(),
    })
  }

  async #findOrMake(plan: TemplatePlan, wish: TemplateWish, signal: AbortSignal) {
    for (;;) {
      signal.throwIfAborted()
      const found = this.#options.store.find(plan.key)
      if (found !== undefined) return { template: found, how: 'found' as const }
      const known = this.#making.get(plan.key)
      if (known?.stop.signal.aborted === true) await known.done.catch(() => {})
      else return { template: await awaitMaking(known ?? this.#begin(plan, wish), signal), how: 'made' as const }
    }
  }

  #begin(plan: TemplatePlan, wish: TemplateWish): Making {
    const uid = this.#freeUid()
    const stop = new AbortController()
    const done = this.#makeOnce(plan, { wish, uid, stop: stop.signal }).finally(() => this.#making.delete(plan.key))
    done.catch(() => {}) // whoever waits is told, and the log has it
    const making = { uid, subject: plan.subject, done, waiters: 0, stop }
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
      void this.keepWithinRoom().catch((error: unknown) => log.warn('template.not-evicted', { text: String(error) }))
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
    if (!passingCodes.includes(code)) this.#failures.add(key, message)
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

  /** What is being made at this moment. */
  making(): readonly TemplateSubject[] {
    return [...this.#making.values()].map(({ subject }) => subject)
  }

  /** uids of the VMs that are being made into templates: no run may have one. */
  uids(): readonly number[] {
    return [...this.#making.values()].map(({ uid }) => uid)
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

// The templates of a node: found, made once however many want one, forgotten, and kept within their room. It never fails a
// job: whoever gets no template boots.
import type { Image } from '../../../config/image-schema.ts'
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { chooseEvictions } from '../../../image/template/eviction.ts'
import { templateName } from '../../../vm/template-name.ts'
import { allOrFirstError } from '../../all-or-first-error.ts'
import { describeTemplate, type TemplatePlan } from './describe-template.ts'
import { createFailures } from './failures.ts'
import { Makings, type MakingsOptions, type TemplateWish } from './makings.ts'
import { whyBooted } from './may-clone.ts'
import { whyStale } from './stale.ts'
import type { StoredTemplate } from './store.ts'
import type { TemplateSubject } from './template-folder.ts'

export type TemplateAnswer =
  | { readonly kind: 'template'; readonly template: StoredTemplate; readonly how: 'found' | 'made' }
  /** VMs boot, for this reason. */
  | { readonly kind: 'none'; readonly why: string }

export interface TemplatesOptions extends Omit<MakingsOptions, 'failures'> {
  readonly images: () => ReadonlyMap<string, Image>
  readonly hypervisorVersion: () => Promise<string>
  readonly now: () => number
}

const bytesPerMib = 1_048_576

export class Templates {
  readonly #options: TemplatesOptions
  readonly #failures
  readonly #makings

  constructor(options: TemplatesOptions) {
    this.#options = options
    this.#failures = createFailures(options.now)
    this.#makings = new Makings({ ...options, failures: this.#failures })
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
    const isNew = this.#failures.find(key) === undefined
    this.#failures.add(key, problem.message)
    const outcome = await this.#options.store.remove(key)
    if (isNew) this.#options.log.warn('template.distrusted', { key, outcome, text: problem.message })
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
    const wanted = store.all().filter(({ subject }) => image === undefined || subject.image === image)
    const outcomes = await allOrFirstError(
      wanted.map(async ({ key, subject }) => {
        const outcome = await store.remove(key)
        log.info('template.forgotten', { key, image: subject.image, outcome })
        return outcome
      }),
    )
    const count = (wanted: string) => outcomes.filter((outcome) => outcome === wanted).length
    return { removed: count('removed'), held: count('held') }
  }

  /** Removes what a making has left that nobody is about any more, as after a crash of this daemon or of libvirtd. */
  async removeStrays(): Promise<void> {
    const { vm, store, log } = this.#options
    // Asked at the last moment: a making that has begun meanwhile is known before there is anything of it.
    const isMaking = (name: string) => this.#makings.all().some(({ key }) => templateName(key) === name)
    await allOrFirstError(
      (await vm.list()).map(async (name) => {
        if (isMaking(name)) return
        log.warn('stray.template', { vm: name })
        await vm.remove(name)
      }),
    )
    // No QEMU has them open any more.
    const left = (await store.unfinished()).filter((key) => !this.#makings.has(key))
    await allOrFirstError(left.map((key) => store.abandon(key)))
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
    await allOrFirstError(
      chooseEvictions(evictable, room).map(async (key) => {
        const outcome = await store.remove(key)
        log.info('template.evicted', { key, outcome })
      }),
    )
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
      const template = await this.#makings.join(plan, wish, signal)
      if (template === undefined) continue
      void this.keepWithinRoom().catch((error: unknown) =>
        this.#options.log.warn('template.not-evicted', { text: String(error) }),
      )
      return { template, how: 'made' as const }
    }
  }

  /** What is being made at this moment. */
  making(): readonly TemplateSubject[] {
    return this.#makings.all().map(({ subject }) => subject)
  }

  /** uids of the VMs that are being made into templates: no run may have one. */
  uids(): readonly number[] {
    return this.#makings.all().map(({ uid }) => uid)
  }
}

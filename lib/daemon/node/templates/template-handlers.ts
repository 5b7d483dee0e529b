// What a node answers to administrators about its templates.
import { setTimeout as delay } from 'node:timers/promises'
import type { Image } from '../../../config/image-schema.ts'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { findImage } from '../../../image/access.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import { asReason } from '../../../protocol/reason.ts'
import type { Templates } from './templates.ts'

const answerMs = 3000

type Warming = Promise<ReplyOf<'warm-template'>>

export function createTemplateHandlers(options: {
  templates: Templates
  images: () => ReadonlyMap<string, Image>
  maxMib: number
}) {
  const { templates, images, maxMib } = options
  /** From the first question until the answer has been fetched, so that a failure is told and not tried again. */
  const warming = new Map<string, Warming>()

  const begin = (request: RequestOf<'warm-template'>): Warming => {
    const image = findImage(images(), request)
    requireSize(image, request)
    if (image.template.sharing === 'user' && request.uid === undefined)
      throw new VmrmError('request-invalid', `image ${image.name} keeps the templates of users apart; for which user?`)
    const wish = { image, size: request, uid: request.uid ?? 0 }
    return templates
      .require(wish, new AbortController().signal)
      .then(({ how, template }) => ({ outcome: how, key: template.key }))
  }

  return {
    'list-templates': async (): Promise<ReplyOf<'list-templates'>> => ({
      maxMib,
      making: templates.making(),
      templates: (await templates.list()).map(({ template: { key, subject, bytes, madeMs, usedMs, uses }, stale }) => ({
        ...{ key, ...subject, uses },
        mib: Math.ceil(bytes / 1_048_576),
        made: new Date(madeMs).toISOString(),
        used: new Date(usedMs).toISOString(),
        ...(stale === undefined ? {} : { stale: asReason(stale) }),
      })),
    }),
    'warm-template': async (request: RequestOf<'warm-template'>): Promise<ReplyOf<'warm-template'>> => {
      const name = JSON.stringify([request.image, request.vcpus, request.memoryMib, request.uid ?? ''])
      const work = warming.get(name) ?? begin(request)
      warming.set(name, work)
      work.catch(() => {}) // whoever asks next is told
      const pending = delay(answerMs, { outcome: 'pending' as const }, { ref: false })
      let answer: ReplyOf<'warm-template'> = { outcome: 'pending' }
      try {
        answer = await Promise.race([work, pending])
        return answer
      } catch (error) {
        warming.delete(name)
        throw error
      } finally {
        if (answer.outcome !== 'pending') warming.delete(name)
      }
    },
    'forget-templates': ({ image }: RequestOf<'forget-templates'>): Promise<ReplyOf<'forget-templates'>> =>
      templates.forget(image),
  }
}

function requireSize(image: Image, { vcpus, memoryMib }: { vcpus: number; memoryMib: number }): void {
  const { minMemoryMib, maxMemoryMib, maxCpus } = image.limits
  const refuse = (code: 'size-over-limit' | 'size-too-small', text: string) => {
    throw new VmrmError(code, `image ${image.name}: ${text}`, { hint: 'See `vmrm image show`.' })
  }
  if (vcpus > maxCpus) refuse('size-over-limit', `${vcpus} vCPUs; at most ${maxCpus} are allowed`)
  if (memoryMib > maxMemoryMib) refuse('size-over-limit', `${memoryMib} MiB; at most ${maxMemoryMib} are allowed`)
  if (memoryMib < minMemoryMib) refuse('size-too-small', `${memoryMib} MiB; it needs at least ${minMemoryMib}`)
}

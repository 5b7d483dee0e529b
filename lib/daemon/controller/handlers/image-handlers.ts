// What users and the plug-in are told of the images: which there are, whether a request for one would be refused, and one's catalogue entry.
import { readFileSync } from 'node:fs'
import type { Catalogue } from '../../../config/load.ts'
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { chooseImage, chooseStrategy, findImage, mayUse } from '../../../image/access.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { Caller } from '../../../protocol/transport/caller.ts'
import type { Account } from '../../account.ts'

export interface ImageHandlerOptions {
  readonly catalogue: Catalogue
  readonly lookUpAccount: (user: string | number) => Promise<Account>
}

export function imageHandlers({ catalogue, lookUpAccount }: ImageHandlerOptions) {
  const requesterOf = async (caller: Caller) => {
    const account = await lookUpAccount(caller.uid)
    return { user: account.name, groups: account.groups.map((group) => group.name), account: '' }
  }
  return {
    'check-request': async (
      { request }: RequestOf<'check-request'>,
      caller: Caller,
    ): Promise<ReplyOf<'check-request'>> => {
      const requester = await requesterOf(caller)
      const images = catalogue.images()
      const named = findImage(images, request)
      // Slurm's account of the job is not known at submit; the controller's Prolog checks it.
      const image = named.access.accounts.length > 0 ? named : chooseImage(images, request, requester)
      if (request.perNode > image.limits.maxPerNode) {
        const text = `image ${image.name} allows ${image.limits.maxPerNode} VMs a node; ${request.perNode} were asked for`
        throw new VmrmError('size-over-limit', text, { hint: 'Ask for fewer with --vm-per-node.' })
      }
      chooseStrategy(image, request.strategy, 'all-or-nothing')
      return {}
    },
    'list-images': async (_request: RequestOf<'list-images'>, caller: Caller): Promise<ReplyOf<'list-images'>> => {
      const requester = await requesterOf(caller)
      const images = [...catalogue.images().values()].map((image) => ({
        name: image.name,
        revision: image.revision,
        os: image.os.family,
        allowed: mayUse(image, requester),
        memoryLimitMib: image.limits.maxMemoryMib,
        cpuLimit: image.limits.maxCpus,
      }))
      return { images }
    },
    'show-image': async ({ name }: RequestOf<'show-image'>): Promise<ReplyOf<'show-image'>> => {
      if (!catalogue.images().has(name))
        throw new VmrmError('image-unknown', `there is no image ${name} on this cluster`)
      return { xml: readFileSync(catalogue.fileOf(name), 'utf8') }
    },
  }
}

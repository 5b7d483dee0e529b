// Who may use an image. Pure.
import type { Image } from '../config/image-schema.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import type { Strategy } from '../job/decision.ts'

export interface Requester {
  readonly user: string
  readonly groups: readonly string[]
  /** Slurm account of the job, empty where it is not known yet. */
  readonly account: string
}

/** True if the entry's access list names the requester; root may use every image. */
export function mayUse(image: Image, requester: Requester): boolean {
  if (image.access.policy === 'all' || requester.user === 'root') return true
  const names = (entries: readonly { name: string }[]) => entries.map((entry) => entry.name)
  return (
    names(image.access.users).includes(requester.user) ||
    names(image.access.groups).some((group) => requester.groups.includes(group)) ||
    (requester.account !== '' && names(image.access.accounts).includes(requester.account))
  )
}

/**
 * The image a request names, if this requester may use it.
 * Throws `image-unknown`, `image-not-allowed` or `image-unusable`, naming the image and the user.
 */
export function chooseImage(
  catalogue: ReadonlyMap<string, Image>,
  request: { image: string; revision?: string | undefined },
  requester: Requester,
): Image {
  const image = findImage(catalogue, request)
  if (!mayUse(image, requester)) {
    throw new VmrmError('image-not-allowed', `user ${requester.user} may not use image ${request.image}`)
  }
  return image
}

/** How its jobs begin: as asked for, else as `ofCluster` says. Throws `request-invalid` where the image does not allow what was asked for. */
export function chooseStrategy(image: Image, asked: Strategy | undefined, ofCluster: Strategy): Strategy {
  if (image.limits.strategy === 'any') return asked ?? ofCluster
  if (asked !== 'best-effort') return 'all-or-nothing'
  const hint = 'Leave --vm-strategy out.'
  throw new VmrmError('request-invalid', `image ${image.name} allows no jobs that begin with some VMs missing`, {
    hint,
  })
}

/** The image a request names, whoever asks. Throws `image-unknown` or `image-unusable`. */
export function findImage(
  catalogue: ReadonlyMap<string, Image>,
  request: { image: string; revision?: string | undefined },
): Image {
  const image = catalogue.get(request.image)
  if (image === undefined) throw new VmrmError('image-unknown', `there is no image ${request.image} on this cluster`)
  if (request.revision !== undefined && request.revision !== image.revision) {
    throw new VmrmError(
      'image-unknown',
      `image ${request.image} has revision ${image.revision}, not ${request.revision}`,
    )
  }
  if (image.os.family === 'windows')
    throw new VmrmError('image-unusable', `image ${request.image} is a Windows, for which there is no agent`)
  return image
}

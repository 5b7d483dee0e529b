// What administrators ask a node about its templates, the memory images that VMs are cloned from.
import { z } from 'zod'
import { defineCall } from '../define.ts'
import { list } from '../schema/fields.ts'
import { imageName, instant, posixId, reason } from './common.ts'

/** For whom a template is: VMs of this image and size, and of one user where the image keeps users apart. */
const subjectFields = {
  image: imageName,
  vcpus: z.int().min(1),
  memoryMib: z.int().min(1),
  uid: posixId.optional(),
}
const templateKeyText = z.string().regex(/^[0-9a-f]{24}$/)

const listedTemplate = z.strictObject({
  key: templateKeyText,
  ...subjectFields,
  /** Disk that it really takes. */
  mib: z.int().min(0),
  made: instant,
  /** When a run was last given a copy of it; when it was made, where none was. */
  used: instant,
  uses: z.int().min(0),
  /** Why no VM of now would be cloned from it; absent: VMs are. */
  stale: reason.optional(),
})

export const templateMessages = {
  'list-templates': defineCall({
    summary: 'The templates of this node, and those it makes at this moment.',
    from: ['administrator'],
    to: ['node'],
    request: z.strictObject({}),
    reply: z.strictObject({
      /** Disk that all of them may have together. */
      maxMib: z.int().min(0),
      templates: list('template', listedTemplate),
      making: list('making', z.strictObject(subjectFields)),
    }),
  }),
  'warm-template': defineCall({
    summary:
      'Make a template unless there is one; answered within a few seconds, so it is asked again while it is `pending`.',
    from: ['administrator'],
    to: ['node'],
    request: z.strictObject(subjectFields),
    reply: z.strictObject({ outcome: z.enum(['pending', 'made', 'found']), key: templateKeyText.optional() }),
  }),
  'forget-templates': defineCall({
    summary: 'Remove the templates of an image, or all of them; what a run is being given a copy of right now is held.',
    from: ['administrator'],
    to: ['node'],
    request: z.strictObject({ image: imageName.optional() }),
    reply: z.strictObject({ removed: z.int().min(0), held: z.int().min(0) }),
  }),
}

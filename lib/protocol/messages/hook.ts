// What Slurm's hooks tell the daemon of their host.
import { z } from 'zod'
import { defineCall } from '../define.ts'
import { empty, jobRunFields, ownerFields, reason, requestSchema } from './common.ts'

/** What the user asked for; or, where that cannot be read, the sentence that says why. Neither: the job named no image itself. */
const asked = { request: requestSchema.optional(), refusal: reason.optional() }

export const hookMessages = {
  'run-begin': defineCall({
    summary: 'PrologSlurmctld: a run of a job that wants VMs, or may have a default image, begins.',
    from: ['hook'],
    to: ['controller'],
    request: z.strictObject({
      ...jobRunFields,
      ...ownerFields,
      account: z.string().max(256),
      partition: z.string().max(256),
      /** Slurm's hostlist, such as n[1-4]. */
      nodes: z.string().min(1).max(65_536),
      /** How scontrol names this job alone: 12, 10_3 for a task of an array. */
      selector: z.string().regex(/^[0-9]{1,10}(_[0-9]{1,10})?$/),
      ...asked,
    }),
    /** `plain`: no image was decided for the job. `again`: it has one and must not start now; Slurm is to requeue it. */
    reply: z.strictObject({ outcome: z.enum(['begun', 'plain', 'again']) }),
  }),
  'run-end': defineCall({
    summary: 'EpilogSlurmctld: a run has ended.',
    from: ['hook'],
    to: ['controller'],
    request: z.strictObject(jobRunFields),
    reply: empty,
  }),
  'node-prepare': defineCall({
    summary: "Prolog: make this node's VMs of a run; answered when they are ready or cannot be.",
    from: ['hook'],
    to: ['node'],
    request: z.strictObject({ ...jobRunFields, ...ownerFields, ...asked }),
    reply: z.strictObject({ outcome: z.enum(['prepared', 'refused', 'node-fault']), reason: reason.optional() }),
  }),
  'node-end': defineCall({
    summary: "Epilog: remove this node's VMs of a run; answered when nothing is left, or what could not be removed.",
    from: ['hook'],
    to: ['node'],
    request: z.strictObject(jobRunFields),
    reply: z.strictObject({ outcome: z.enum(['removed', 'left']), reason: reason.optional() }),
  }),
}

// What the controller's daemon tells and asks the daemons of the nodes.
import { z } from 'zod'
import { defineCall } from '../define.ts'
import { list } from '../schema/fields.ts'
import {
  batchName,
  consoleOffset,
  consolePart,
  contentDigest,
  empty,
  hostName,
  instant,
  jobRunFields,
  missingHosts,
  missingVms,
  ownerFields,
  reason,
  runFields,
  runState,
  verdict,
  vmIndex,
} from './common.ts'
import { share } from './share.ts'

const heldRun = z.strictObject({
  ...ownerFields,
  script: z.enum(['guest', 'host']),
  state: runState,
  began: instant,
  /** Why it was refused or lost. */
  reason,
  share,
  batch: z.strictObject({ name: batchName, content: contentDigest }).optional(),
  /** VMs of this node that did not come up, or ended since. */
  missing: missingVms.optional(),
})

export const controllerMessages = {
  verdict: defineCall({
    summary: 'What was decided about a run; final, unless it is pending.',
    from: ['controller'],
    to: ['node'],
    request: z.strictObject({ ...runFields, verdict, reason: reason.optional(), missing: missingHosts.optional() }),
    reply: empty,
  }),
  'expect-run': defineCall({
    summary: 'A job that named no image itself will run in VMs: mark it on this node before its Prolog.',
    from: ['controller'],
    to: ['node'],
    request: z.strictObject({ ...jobRunFields, script: z.enum(['guest', 'host']) }),
    reply: empty,
  }),
  'prepare-batch': defineCall({
    summary:
      "Make this node's VMs of a batch; answered at once, and the node reports as it does of a job's. Safe to repeat.",
    from: ['controller'],
    to: ['node'],
    request: z.strictObject({ ...runFields, ...ownerFields, name: batchName, content: contentDigest }),
    reply: empty,
  }),
  'tell-run': defineCall({
    summary:
      'What this node knows of a run, for a controller that has lost its ledger; nothing if it has no share of it.',
    from: ['controller'],
    to: ['node'],
    request: z.strictObject(runFields),
    reply: z.strictObject({ run: heldRun.optional() }),
  }),
  'destroy-run': defineCall({
    summary: 'Remove everything of a run from this node; answered when nothing is left.',
    from: ['controller'],
    to: ['node'],
    request: z.strictObject(runFields),
    reply: empty,
  }),
  'get-console': defineCall({
    summary: 'A part of the console log of a VM of this node.',
    from: ['controller'],
    to: ['node'],
    request: z.strictObject({ ...runFields, vm: vmIndex, offset: consoleOffset }),
    reply: z.strictObject(consolePart),
  }),
  'node-status': defineCall({
    summary: 'What a node is and holds.',
    from: ['controller', 'user'],
    to: ['node'],
    request: empty,
    reply: z.strictObject({
      node: hostName,
      /** vmrmd's own version. */
      release: z.string().max(64),
      /** Whether this node can start VMs now, and why not. */
      health: z.enum(['ready', 'fault']),
      reason: reason.optional(),
      runs: list('run', z.strictObject({ ...runFields, state: runState })),
    }),
  }),
}

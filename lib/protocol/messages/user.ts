// What anyone may ask the controller: mostly what the command line shows.
import { z } from 'zod'
import { defineCall, defineEvent } from '../define.ts'
import { list, text } from '../schema/fields.ts'
import {
  batchName,
  batchNumber,
  consoleOffset,
  consolePart,
  empty,
  errorCode,
  hostName,
  imageName,
  imageRevision,
  instant,
  ipAddress,
  jobId,
  reason,
  requestSchema,
  restartCount,
  runFields,
  runState,
  userName,
  vmIndex,
  vmName,
} from './common.ts'

const listedVm = z.strictObject({
  name: vmName,
  hostname: hostName,
  node: hostName,
  address: ipAddress.optional(),
  /** `unknown`: its node's vmrmd has gone and not come back. */
  state: z.enum(['planned', 'starting', 'running', 'paused', 'missing', 'lost', 'unknown', 'ended']),
})

/** Of a job, or of a batch. */
const listedRun = z.strictObject({
  job: jobId.optional(),
  restart: restartCount,
  batch: batchNumber.optional(),
  /** The batch's. */
  name: batchName.optional(),
  user: userName,
  image: imageName,
  state: runState,
  reason: reason.optional(),
  /** Of the reason. */
  code: errorCode.optional(),
  began: instant,
  /** What the run used, once its nodes have told: the highest memory of any node, and all CPU time. */
  peakMemoryMib: z.int().min(0).optional(),
  cpuTimeMs: z.int().min(0).optional(),
  vms: list('vm', listedVm),
})

const listedImage = z.strictObject({
  name: imageName,
  revision: imageRevision,
  os: z.string().max(256),
  /** Whether the asking user may use it. */
  allowed: z.boolean(),
  /** Limits of one VM; absent: none. */
  memoryLimitMib: z.int().min(1).optional(),
  cpuLimit: z.int().min(1).optional(),
})

export const userMessages = {
  'check-request': defineCall({
    summary: 'Whether the asking user may have these VMs; a refusal is an error that says why.',
    from: ['user'],
    to: ['controller'],
    request: z.strictObject({ request: requestSchema }),
    reply: empty,
  }),
  'list-runs': defineCall({
    summary: "The asking user's runs, or everyone's where the user may see them.",
    from: ['user'],
    to: ['controller'],
    /** With a job or a batch: its runs alone, ended or not. */
    request: z.strictObject({ all: z.boolean(), job: jobId.optional(), batch: batchNumber.optional() }),
    reply: z.strictObject({ runs: list('run', listedRun) }),
  }),
  'list-images': defineCall({
    summary: 'The catalogue.',
    from: ['user'],
    to: ['controller'],
    request: empty,
    reply: z.strictObject({ images: list('image', listedImage) }),
  }),
  'show-image': defineCall({
    summary: 'The catalogue entry of an image, as its XML.',
    from: ['user'],
    to: ['controller'],
    request: z.strictObject({ name: imageName }),
    reply: z.strictObject({ xml: text(z.string()) }),
  }),
  'forget-node': defineCall({
    summary:
      'A node is gone for good: what was leased to VMs on it is free, and VMs of a batch there are lost. From root and SlurmUser only.',
    from: ['user'],
    to: ['controller'],
    request: z.strictObject({ node: hostName }),
    reply: z.strictObject({ runs: list('run', z.strictObject(runFields)) }),
  }),
  'read-console': defineCall({
    summary: "A part of the console log of a VM of a batch or of a job's newest run; for its user, root and SlurmUser.",
    from: ['user'],
    to: ['controller'],
    request: z
      .strictObject({ job: jobId.optional(), batch: batchNumber.optional(), vm: vmIndex, offset: consoleOffset })
      .refine(({ job, batch }) => (job === undefined) !== (batch === undefined), 'a job or a batch'),
    reply: z.strictObject({ ...consolePart, state: runState }),
  }),
  subscribe: defineCall({
    summary: 'From now on, send the events that match on this connection, until it ends.',
    from: ['user', 'node', 'controller'],
    to: ['controller', 'node'],
    request: z.strictObject({ events: list('event', z.enum(['run-state']), 16), job: jobId.optional() }),
    reply: empty,
  }),
  'run-state': defineEvent({
    summary: 'A run has come to another state.',
    from: ['controller', 'node'],
    body: z.strictObject({ ...runFields, state: runState }),
  }),
}

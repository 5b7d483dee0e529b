// What a node's daemon asks and reports; it speaks, the controller answers.
import { z } from 'zod'
import { defineCall } from '../define.ts'
import { list } from '../schema/fields.ts'
import {
  empty,
  errorCode,
  hostName,
  ipAddress,
  jobId,
  missingHosts,
  missingVms,
  nodeRunFields,
  reason,
  runFields,
  runState,
  verdict,
  vmName,
} from './common.ts'
import { share } from './share.ts'

const getShareReply = z
  .strictObject({
    state: z.enum(['share', 'pending', 'refused', 'unknown']),
    reason: reason.optional(),
    share: share.optional(),
  })
  .refine((reply) => (reply.state === 'share') === (reply.share !== undefined), 'a share comes with state="share" only')

const decided = z.strictObject({ verdict, reason: reason.optional(), missing: missingHosts.optional() })

const jobList = list('ended-job', z.strictObject({ job: jobId }))

/** A report: what happened on one node to one run. */
function report<Fields extends z.ZodRawShape>(summary: string, fields: Fields) {
  const request = z.strictObject({ ...nodeRunFields, ...fields })
  return defineCall({ summary, from: ['node'], to: ['controller'], request, reply: empty })
}

export const nodeMessages = {
  'get-share': defineCall({
    summary: "The node's part of a run's plan.",
    from: ['node'],
    to: ['controller'],
    request: z.strictObject(nodeRunFields),
    reply: getShareReply,
  }),
  'report-prepared': defineCall({
    summary:
      'The VMs of the run on this node are ready; with best-effort, those that are not are named. The answer waits half a minute for the decision; pending: it is told later.',
    from: ['node'],
    to: ['controller'],
    request: z.strictObject({
      ...nodeRunFields,
      missing: missingVms.optional(),
    }),
    reply: decided,
  }),
  'report-failed': report('The VMs of the run on this node cannot be made.', { code: errorCode, reason }),
  'report-ended': report('Nothing of the run is left on this node.', {
    peakMemoryBytes: z.bigint().min(0n),
    cpuTimeNs: z.bigint().min(0n),
  }),
  'report-lost': report('A VM ended while its job or batch ran.', { vm: vmName, reason }),
  'node-hello': defineCall({
    summary: 'A node (again) has contact: the runs it holds; the answer is what is to become of each.',
    from: ['node'],
    to: ['controller'],
    request: z.strictObject({
      node: hostName,
      address: ipAddress,
      /** Whether this node can start VMs now. */
      health: z.enum(['ready', 'fault']),
      runs: list('run', z.strictObject({ ...runFields, state: runState })),
    }),
    reply: z.strictObject({ runs: list('run', z.strictObject({ ...runFields, verdict })) }),
  }),
  'find-ended-jobs': defineCall({
    summary: 'Which of these jobs are over, as far as Slurm knows; asked about what an earlier job has left on a node.',
    from: ['node'],
    to: ['controller'],
    request: z.strictObject({ node: hostName, jobs: jobList }),
    reply: z.strictObject({ jobs: jobList }),
  }),
  'get-verdict': defineCall({
    summary: 'What was decided about a run.',
    from: ['node'],
    to: ['controller'],
    request: z.strictObject(nodeRunFields),
    reply: decided,
  }),
}

// Batches: VMs without a job, for administrators and for other programs. All of these may be repeated.
import { z } from 'zod'
import { defineCall } from '../define.ts'
import { batchName, batchNumber, imageName, imageRevision, runState, strategy, userName } from './common.ts'

const longestTime = 86_400

export const batchMessages = {
  'create-batch': defineCall({
    summary: [
      'Make VMs without a job; answered once that is in the ledger, and `list-runs` tells how it goes on.',
      'With a name that is known nothing is made: the answer is the batch of that name, or an error if that was asked for in another way.',
      'From root and SlurmUser only.',
    ].join(' '),
    from: ['user'],
    to: ['controller'],
    request: z
      .strictObject({
        name: batchName,
        image: imageName,
        revision: imageRevision.optional(),
        /** A host list such as n[1-4]; absent: nodes that have the fewest VMs. */
        nodes: z.string().min(1).max(65_536).optional(),
        /** How many, where they are not named; absent: one. */
        nodeCount: z.int().min(1).max(65_536).optional(),
        perNode: z.int().min(1).max(256),
        /** Of each VM. */
        cpus: z.int().min(1).max(4096),
        memoryMib: z.int().min(1).max(16_777_216),
        /** Absent: the cluster's. */
        strategy: strategy.optional(),
        /** Whose VMs they are; absent: the asking user's. */
        user: userName.optional(),
        /** Until when they must be ready; absent, and at most: as for a job. */
        withinSeconds: z.int().min(1).max(longestTime).optional(),
      })
      .refine(({ nodes, nodeCount }) => nodes === undefined || nodeCount === undefined, 'nodes or a node count'),
    reply: z.strictObject({ batch: batchNumber, outcome: z.enum(['begun', 'known']) }),
  }),
  'destroy-batch': defineCall({
    summary:
      'Remove a batch, also one that is being made; answered once that is in the ledger: it is over when its state is `ended`. While the controller looks for its records one that it does not know is waited for, and then refused with `ledger-rebuilding`. From root and SlurmUser only.',
    from: ['user'],
    to: ['controller'],
    request: z
      .strictObject({ batch: batchNumber.optional(), name: batchName.optional() })
      .refine(({ batch, name }) => (batch === undefined) !== (name === undefined), 'a number or a name'),
    reply: z.strictObject({ batch: batchNumber, state: runState }),
  }),
}

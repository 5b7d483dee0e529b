// What the controller answers to messages about batches: who may ask, and whose the VMs are to be.
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { Caller } from '../../../protocol/transport/caller.ts'
import type { Account } from '../../account.ts'
import type { Batches } from './batches.ts'

export function createBatchHandlers(options: {
  batches: Batches
  lookUpAccount: (user: string | number) => Promise<Account>
  /** root and SlurmUser. */
  trustedUids: readonly number[]
}) {
  const { batches, lookUpAccount, trustedUids } = options
  const requireTrusted = ({ uid }: Caller) => {
    if (trustedUids.includes(uid)) return
    throw new VmrmError('not-permitted', 'only root and SlurmUser may make and remove VMs without a job', {
      hint: 'A job gets VMs of its own with --vm-image.',
    })
  }
  const ownerOf = async ({ user }: RequestOf<'create-batch'>, { uid }: Caller): Promise<Account> => {
    try {
      return await lookUpAccount(user ?? uid)
    } catch (cause) {
      if (user === undefined || toVmrmError(cause).code !== 'command-failed') throw cause
      throw new VmrmError('request-invalid', `the controller knows no user ${user}`, { cause })
    }
  }
  return {
    'create-batch': async (request: RequestOf<'create-batch'>, caller: Caller): Promise<ReplyOf<'create-batch'>> => {
      requireTrusted(caller)
      return batches.create(request, await ownerOf(request, caller))
    },
    'destroy-batch': async (request: RequestOf<'destroy-batch'>, caller: Caller): Promise<ReplyOf<'destroy-batch'>> => {
      requireTrusted(caller)
      return batches.destroy(request)
    },
  }
}

// Who may read a VM's console log, and which node has it: the controller's answer to read-console.
import { VmrmError } from '../../../errors/vmrm-error.ts'
import { batchRun, type Run } from '../../../job/run.ts'
import type { ReplyOf, RequestOf } from '../../../protocol/messages.ts'
import type { Caller } from '../../../protocol/transport/caller.ts'
import type { Ledger } from '../ledger/ledger.ts'

/** Asks a node for a part of a console log. Rejects when the node does not answer. */
export type ConsoleReader = (
  node: string,
  run: Run,
  part: { readonly vm: number; readonly offset: number },
) => Promise<ReplyOf<'get-console'>>

export function createConsoleHandler(options: {
  ledger: Ledger
  readConsole: ConsoleReader
  /** root and SlurmUser. */
  trustedUids: readonly number[]
}) {
  const { ledger, readConsole, trustedUids } = options
  return async (request: RequestOf<'read-console'>, caller: Caller): Promise<ReplyOf<'read-console'>> => {
    const { vm, offset } = request
    const number = request.batch === undefined ? request.job : batchRun(request.batch).job
    const run = number === undefined ? undefined : ledger.ofJob(number).at(-1)
    const whose = request.batch === undefined ? `job ${request.job}` : `batch b${request.batch}`
    // Another user's run is answered like none at all.
    if (run === undefined || (run.uid !== caller.uid && !trustedUids.includes(caller.uid)))
      throw new VmrmError('job-without-vms', `${whose} has no VMs that you may see`)
    if (run.plan === undefined) throw new VmrmError('vms-not-ready', `the VMs of ${whose} are not ready yet`)
    const node = run.plan.nodes.find((each) => each.vms.some(({ index }) => index === vm))?.node
    if (node === undefined) throw new VmrmError('vm-unknown', `${whose} has no VM ${vm}`)
    if (run.state === 'ended')
      throw new VmrmError('job-without-vms', `the VMs of ${whose} are gone, and their consoles`)
    return { ...(await readConsole(node, run, { vm, offset })), state: run.state }
  }
}

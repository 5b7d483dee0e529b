// `vmrm destroy`: the end of batches, VMs without a job. It waits until every node has confirmed that nothing is left.
import { exitCodeOfFamily } from '../errors/catalogue.ts'
import { renderForUser, toVmrmError } from '../errors/vmrm-error.ts'
import { parseBatchName } from '../job/run.ts'
import type { ProtocolClient } from '../protocol/client.ts'
import { awaitBatch, callMs, notConfirmed } from './batch/await-batch.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { withController } from './controller.ts'

const usage = 'vmrm destroy [--no-wait] BATCH …'

export const destroy: Command = {
  summary: 'remove VMs that have no job (administrators)',
  usage,
  help: `Removes batches that \`vmrm create\` made, also those that are being made. Root and SlurmUser only; it may be said again.
  BATCH      a number such as b7, or the name the batch was given
  --no-wait  return when the controller has it
A node that does not answer removes its VMs when it is back; until then their names and addresses stay leased.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, { 'no-wait': { type: 'boolean' } })
    if (positionals.length === 0) throw new UsageError('which batch?', usage)
    let exitCode = 0
    await withController(async (controller) => {
      for (const text of positionals) {
        exitCode =
          (await destroyOne(controller, text, values['no-wait'] === true ? 'known' : 'ended').catch(
            (thrown: unknown) => {
              const error = toVmrmError(thrown)
              process.stderr.write(renderForUser(error))
              return exitCodeOfFamily[error.family]
            },
          )) || exitCode
      }
    })
    return exitCode
  },
}

async function destroyOne(controller: ProtocolClient, text: string, until: 'known' | 'ended'): Promise<number> {
  const batch = parseBatchName(text)
  const answer = await controller.call('destroy-batch', batch === undefined ? { name: text } : { batch }, {
    timeoutMs: callMs,
  })
  if (until === 'known' || answer.state === 'ended') return 0
  const run = await awaitBatch(controller, { batch: answer.batch, until })
  if (run === 'interrupted' || run.state === 'ended') return 0
  process.stderr.write(`vmrm: ${notConfirmed(answer.batch)}\n`)
  return exitCodeOfFamily.node
}

// `vmrm node forget`: an administrator's word to the controller that nodes are gone for good.
import { exitCodeOfFamily } from '../errors/catalogue.ts'
import { renderForUser, toVmrmError } from '../errors/vmrm-error.ts'
import { expandHostlist } from '../slurm/hostlist.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { withController } from './controller.ts'

const usage = 'vmrm node forget NODES …'

export const node: Command = {
  summary: 'nodes that are gone for good (administrators)',
  usage,
  help: `Tells the controller that nothing of vmrm is left on these nodes and that they will not come back as they were: powered off,
removed or installed anew. What was leased to VMs on them is free then, and a controller that has lost its ledger does not
wait for them. VMs of a batch there are lost; a node that comes back with them all the same removes them. Root and SlurmUser
only. A node whose vmrmd answers is refused: what is over there is removed by itself.
  NODES   a node or a host list such as n[1-3,7]
It counts until the node's vmrmd says hello again.`,
  async run(args) {
    const { positionals } = readOptions(usage, args, {})
    const [verb, ...lists] = positionals
    if (verb !== 'forget' || lists.length === 0) throw new UsageError('it is told which nodes to forget', usage)
    let exitCode = 0
    await withController(async (controller) => {
      for (const name of lists.flatMap(expandHostlist)) {
        try {
          const { runs } = await controller.call('forget-node', { node: name })
          process.stdout.write(`${name}: forgotten, ${runs.length} run${runs.length === 1 ? '' : 's'} had VMs there\n`)
        } catch (thrown) {
          const error = toVmrmError(thrown)
          process.stderr.write(renderForUser(error))
          exitCode = exitCodeOfFamily[error.family]
        }
      }
    })
    return exitCode
  },
}

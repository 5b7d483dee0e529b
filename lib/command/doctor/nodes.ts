// From the controller: does every node's vmrmd answer over TCP and MUNGE, and is it of one release?
import { release } from '../../daemon/release.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { parseNodes, type SlurmNode, withNode } from '../slurm-nodes.ts'
import { type Check, type DoctorContext, type Finding, fail, ok, problemsOr, warn } from './check.ts'
import { complaint, runTool } from './run-tool.ts'

const answerMs = 5_000
const atOnce = 32

async function askNode(node: SlurmNode, context: DoctorContext): Promise<Finding | undefined> {
  try {
    const status = await withNode(context.config, node, (client) =>
      client.call('node-status', {}, { timeoutMs: answerMs }),
    )
    if (status.release === release) return undefined
    return warn(
      `node ${node.name} has release ${status.release}, this host ${release}`,
      'Messages that only one of them knows are refused.',
      `Install the same release on ${node.name} and restart vmrmd-node there.`,
    )
  } catch (thrown) {
    return fail(
      `node ${node.name}: ${toVmrmError(thrown).message}`,
      'The controller cannot tell that node what was decided; VM jobs there are slow to start or fail.',
      `On ${node.name}: vmrm doctor; and open TCP port ${context.config.node.port} there to this host.`,
    )
  }
}

export const nodesCheck: Check = {
  name: 'nodes-over-munge',
  roles: ['controller'],
  async run(context) {
    const { commands, config: slurmConf } = context.config.slurm
    const shown = await runTool(`${commands}/scontrol`, ['show', 'node', '--oneliner'], { SLURM_CONF: slurmConf })
    if (shown.exitCode !== 0)
      return [warn(`scontrol show node: ${complaint(shown)}`, 'The nodes were not asked.', 'Start slurmctld.')]
    const nodes = parseNodes(shown.stdout)
    const problems: Finding[] = []
    for (let at = 0; at < nodes.length; at += atOnce) {
      const some = await Promise.all(nodes.slice(at, at + atOnce).map((node) => askNode(node, context)))
      problems.push(...some.filter((problem) => problem !== undefined))
    }
    return nodes.length === 0
      ? [ok('no node is up')]
      : problemsOr(`all ${nodes.length} nodes that are up answer`, problems)
  },
}

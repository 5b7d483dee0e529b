// From the controller: does every node's vmrmd answer over TCP and MUNGE, and is it of one release?
import { release } from '../../daemon/release.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import { askNodes, listNodes, type SlurmNode } from '../slurm-nodes.ts'
import { type Check, type DoctorContext, type Finding, fail, ok, problemsOr, warn } from './check.ts'

const answerMs = 5_000

async function look(
  client: ProtocolClient,
  { name }: SlurmNode,
  { config }: DoctorContext,
): Promise<Finding | undefined> {
  try {
    const status = await client.call('node-status', {}, { timeoutMs: answerMs })
    if (status.release === release) return undefined
    return warn(
      `node ${name} has release ${status.release}, this host ${release}`,
      'Messages that only one of them knows are refused.',
      `Install the same release on ${name} and restart vmrmd-node there.`,
    )
  } catch (thrown) {
    return fail(
      `node ${name}: ${toVmrmError(thrown).message}`,
      'The controller cannot tell that node what was decided; VM jobs there are slow to start or fail.',
      `On ${name}: vmrm doctor; and open TCP port ${config.node.port} there to this host.`,
    )
  }
}

export const nodesCheck: Check = {
  name: 'nodes-over-munge',
  roles: ['controller'],
  async run(context) {
    let nodes: readonly SlurmNode[]
    try {
      nodes = await listNodes(context.config)
    } catch (thrown) {
      return [warn(toVmrmError(thrown).message, 'The nodes were not asked.', 'Start slurmctld.')]
    }
    const found = await askNodes(context.config, nodes, (client, node) => look(client, node, context))
    const problems = found.filter((problem) => problem !== undefined)
    return nodes.length === 0
      ? [ok('no node is up')]
      : problemsOr(`all ${nodes.length} nodes that are up answer`, problems)
  },
}

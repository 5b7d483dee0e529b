// One question about templates to many nodes: side by side, each answer or failure told with the node's name.
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import { exitCodeOfFamily } from '../../errors/catalogue.ts'
import { renderForUser, toVmrmError } from '../../errors/vmrm-error.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import { askNodes, findNodes } from '../slurm-nodes.ts'

/** The first failure's exit code, or 0. What `work` rejects with is shown below the name of the node. */
export async function onNodes(
  config: DaemonConfig,
  lists: readonly string[],
  work: (client: ProtocolClient, node: string) => Promise<void>,
): Promise<number> {
  const nodes = await findNodes(config, lists)
  let exitCode = 0
  await askNodes(config, nodes, async (client, node) => {
    try {
      await work(client, node.name)
    } catch (thrown) {
      const error = toVmrmError(thrown)
      process.stderr.write(`${node.name}:\n${renderForUser(error)}`)
      if (exitCode === 0) exitCode = exitCodeOfFamily[error.family]
    }
  })
  return exitCode
}

/** A VM's size, for people. */
export function sizeText({ vcpus, memoryMib }: { vcpus: number; memoryMib: number }): string {
  return `${vcpus} vCPU${vcpus === 1 ? '' : 's'}, ${memoryMib} MiB`
}

// From the controller: does every node's vmrmd answer over TCP and MUNGE, and is it of one release?
import { nodeClient } from '../../daemon/cluster-peers.ts'
import { release } from '../../daemon/release.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import { uidOf } from '../uid-of.ts'
import { type Check, type DoctorContext, type Finding, fail, ok, problemsOr, warn } from './check.ts'
import { complaint, runTool } from './run-tool.ts'

const answerMs = 5_000
const atOnce = 32

export interface SlurmNode {
  readonly name: string
  readonly address: string
}

/** `scontrol show node --oneliner`; nodes that Slurm itself does not reach are left out. */
export function parseNodes(text: string): SlurmNode[] {
  return text.split('\n').flatMap((line) => {
    const field = (key: string): string => new RegExp(`(?:^|\\s)${key}=(\\S+)`).exec(line)?.[1] ?? ''
    const [name, address, state] = [field('NodeName'), field('NodeAddr'), field('State')]
    const isGone = /DOWN|NOT_RESPONDING|POWERED_DOWN|POWERING|FUTURE|UNKNOWN|\*/.test(state)
    return name === '' || isGone ? [] : [{ name, address: address === '' ? name : address }]
  })
}

async function askNode(node: SlurmNode, context: DoctorContext, slurmUid: number): Promise<Finding | undefined> {
  const { config } = context
  const self = { name: 'user', ownUid: process.getuid?.() ?? 0, slurmUid }
  const client = nodeClient({ config, self, node: node.name, address: node.address })
  try {
    const status = await client.call('node-status', {}, { timeoutMs: answerMs })
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
      `On ${node.name}: vmrm doctor; and open TCP port ${config.node.port} there to this host.`,
    )
  } finally {
    client.close()
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
    const slurmUid = await uidOf(context.config.controller.user)
    const problems: Finding[] = []
    for (let at = 0; at < nodes.length; at += atOnce) {
      const some = await Promise.all(nodes.slice(at, at + atOnce).map((node) => askNode(node, context, slurmUid)))
      problems.push(...some.filter((problem) => problem !== undefined))
    }
    return nodes.length === 0
      ? [ok('no node is up')]
      : problemsOr(`all ${nodes.length} nodes that are up answer`, problems)
  },
}

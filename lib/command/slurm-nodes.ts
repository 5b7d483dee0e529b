// The nodes of the cluster as Slurm names them, for commands that ask every node's vmrmd.
import type { DaemonConfig } from '../config/daemon-schema.ts'
import { nodeClient } from '../daemon/cluster-peers.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import type { ProtocolClient } from '../protocol/client.ts'
import { expandHostlist } from '../slurm/hostlist.ts'
import { complaint, runTool } from './doctor/run-tool.ts'
import { uidOf } from './uid-of.ts'

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

/** All that are up. Throws `command-failed` where Slurm does not say. */
export async function listNodes(config: DaemonConfig): Promise<readonly SlurmNode[]> {
  const { commands, config: slurmConf } = config.slurm
  const shown = await runTool(`${commands}/scontrol`, ['show', 'node', '--oneliner'], { SLURM_CONF: slurmConf })
  if (shown.exitCode !== 0) throw new VmrmError('command-failed', `scontrol show node: ${complaint(shown)}`)
  return parseNodes(shown.stdout)
}

/** Those of the host lists, or all that are up. Throws `request-invalid` for one that Slurm does not have up. */
export async function findNodes(config: DaemonConfig, lists: readonly string[]): Promise<readonly SlurmNode[]> {
  const nodes = await listNodes(config)
  if (lists.length === 0) return nodes
  return lists.flatMap(expandHostlist).map((name) => {
    const node = nodes.find((one) => one.name === name)
    if (node !== undefined) return node
    throw new VmrmError('request-invalid', `${name} is no node that Slurm has up`, { hint: 'See `sinfo`.' })
  })
}

const atOnce = 32

/**
 * Asks nodes' vmrmds as this process's user, some at a time; each connection is closed afterwards. Resolves to the answers in the
 * nodes' order, or rejects with the first failure.
 */
export async function askNodes<T>(
  config: DaemonConfig,
  nodes: readonly SlurmNode[],
  work: (client: ProtocolClient, node: SlurmNode) => Promise<T>,
): Promise<readonly T[]> {
  const self = { name: 'user', ownUid: process.getuid?.() ?? 0, slurmUid: await uidOf(config.controller.user) }
  const ask = async (node: SlurmNode) => {
    const client = nodeClient({ config, self, node: node.name, address: node.address })
    try {
      return await work(client, node)
    } finally {
      client.close()
    }
  }
  const answers: T[] = []
  for (let at = 0; at < nodes.length; at += atOnce) {
    answers.push(...(await Promise.all(nodes.slice(at, at + atOnce).map(ask))))
  }
  return answers
}

// The controller's calls to the nodes' daemons, with how long each may take. It keeps one client a node, and decides nothing.
import { lookup } from 'node:dns/promises'
import type { DaemonConfig } from '../../config/daemon-schema.ts'
import type { Run } from '../../job/run.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import { type ClusterIdentity, nodeClient } from '../cluster-peers.ts'
import type { ConsoleReader } from './handlers/console-handler.ts'
import type { Ledger } from './ledger/ledger.ts'
import type { NodeCaller, NodeTeller } from './node-ports.ts'

const destroyMs = 90_000
const expectCallMs = 10_000
const tellMs = 5000

/** As the node itself has told; before its first hello as the name service says. */
export async function addressOf(ledger: Ledger, node: string): Promise<string> {
  return ledger.nodeAddress(node) ?? (await lookup(node, 4)).address
}

export function createNodeCaller(options: {
  config: DaemonConfig
  ledger: Ledger
  self: ClusterIdentity
}): NodeCaller & NodeTeller & { readonly readConsole: ConsoleReader } {
  const { config, ledger, self } = options
  const clients = new Map<string, ProtocolClient>()
  const clientOf = async (node: string): Promise<ProtocolClient> => {
    const address = await addressOf(ledger, node)
    const key = `${node} ${address}`
    const client = clients.get(key) ?? nodeClient({ config, self, node, address })
    clients.set(key, client)
    return client
  }
  const heldRuns = async (node: string, timeoutMs = tellMs) => {
    return (await (await clientOf(node)).call('node-status', {}, { timeoutMs })).runs
  }
  return {
    heldRuns,
    answers: (node, timeoutMs) =>
      heldRuns(node, timeoutMs).then(
        () => true,
        () => false,
      ),
    async verdict(node, { job, restart }: Run, { verdict, reason, missing }) {
      const lacks = missing.length === 0 ? {} : { missing: [...missing] }
      const body = { job, restart, verdict, ...lacks, ...(reason === '' ? {} : { reason }) }
      await (await clientOf(node)).call('verdict', body)
    },
    async destroyRun(node, { job, restart }: Run) {
      await (await clientOf(node)).call('destroy-run', { job, restart }, { timeoutMs: destroyMs })
    },
    async prepareBatch(node, { job, restart, uid, gid, user }, { name, content }) {
      const body = { job, restart, uid, gid, user, name, content }
      await (await clientOf(node)).call('prepare-batch', body, { timeoutMs: expectCallMs })
    },
    async expectRun(node, { job, restart }: Run, script) {
      await (await clientOf(node)).call('expect-run', { job, restart, script }, { timeoutMs: expectCallMs })
    },
    async tellRun(node, { job, restart }) {
      const { run } = await (await clientOf(node)).call('tell-run', { job, restart }, { timeoutMs: tellMs })
      return run === undefined ? undefined : { ...structuredClone(run), job, restart, node }
    },
    async readConsole(node, { job, restart }, { vm, offset }) {
      return (await clientOf(node)).call('get-console', { job, restart, vm, offset })
    },
  }
}

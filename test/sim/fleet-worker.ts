// A process that plays some of the simulated nodes. It answers each message of its parent with one of the same number.
import { loadDaemonConfig } from '../../lib/config/load.ts'
import type { PrepareRequest } from '../../lib/daemon/node/runs/node-runs.ts'
import type { Run } from '../../lib/job/run.ts'
import { until } from '../support/until.ts'
import { type NodeAddress, type NodeOutcome, type SimulatedNode, startNode } from './simulated-node.ts'

/** What one node is to do in a run. */
export interface NodeTask {
  readonly node: string
  readonly simulatedMs: number
  readonly dieAfterMs?: number
}

export type FleetRequest =
  | { readonly type: 'start'; readonly config: string; readonly nodes: readonly NodeAddress[] }
  | { readonly type: 'run'; readonly request: PrepareRequest; readonly tasks: readonly NodeTask[] }
  | { readonly type: 'end'; readonly run: Run }
  | { readonly type: 'hello' }
  | { readonly type: 'stop' }

export type FleetAnswer = {
  readonly outcomes?: readonly NodeOutcome[]
  readonly cpuMs?: number
  readonly error?: string
}

const hellosAtOnce = 16
const helloMs = 120_000
const nodes = new Map<string, SimulatedNode>()

/** A controller that has much to do may answer the second time. */
const saysHello = (node: SimulatedNode) => () =>
  node.hello().then(
    () => true,
    () => false,
  )

async function start(configPath: string, addresses: readonly NodeAddress[]): Promise<void> {
  const config = loadDaemonConfig(configPath)
  for (const each of addresses) nodes.set(each.name, await startNode(each, config))
  const left = [...nodes.values()]
  const work = async () => {
    for (let node = left.pop(); node !== undefined; node = left.pop()) await until('a hello', saysHello(node), helloMs)
  }
  await Promise.all(Array.from({ length: hellosAtOnce }, work))
}

async function answer(request: FleetRequest): Promise<FleetAnswer> {
  switch (request.type) {
    case 'start':
      await start(request.config, request.nodes)
      return {}
    case 'run': {
      const before = process.cpuUsage()
      const outcomes = await Promise.all(
        request.tasks.map(({ node, ...options }) => {
          const found = nodes.get(node)
          if (found === undefined) throw new Error(`there is no node ${node}`)
          return found.run(request.request, options)
        }),
      )
      for (const outcome of outcomes) if (outcome.state === 'died') nodes.delete(outcome.node)
      const used = process.cpuUsage(before)
      return { outcomes, cpuMs: (used.user + used.system) / 1000 }
    }
    case 'end':
      await Promise.all([...nodes.values()].map((node) => node.end(request.run)))
      return {}
    case 'hello':
      await Promise.all([...nodes.values()].map((node) => until('a hello', saysHello(node), helloMs)))
      return {}
    case 'stop':
      await Promise.all([...nodes.values()].map((node) => node.close()))
      return {}
    default:
      return request satisfies never
  }
}

process.on('message', ({ id, request }: { id: number; request: FleetRequest }) => {
  answer(request).then(
    (body) => process.send?.({ id, body }),
    (error: unknown) => process.send?.({ id, body: { error: error instanceof Error ? error.stack : String(error) } }),
  )
})
process.once('disconnect', () => process.exit(0))

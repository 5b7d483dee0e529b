// The simulated nodes, spread over a few processes so that they are not one thread's work.
import { type ChildProcess, fork } from 'node:child_process'
import type { PrepareRequest } from '../../lib/daemon/node/runs/node-runs.ts'
import type { Run } from '../../lib/job/run.ts'
import type { FleetAnswer, FleetRequest, NodeTask } from './fleet-worker.ts'
import type { NodeAddress, NodeOutcome } from './simulated-node.ts'

export interface FleetRun {
  readonly outcomes: readonly NodeOutcome[]
  /** CPU time of the nodes' processes. */
  readonly cpuMs: number
}

export interface Fleet {
  /** All Prologs at once; resolves when every node knows what was decided and has done it, or is dead. */
  run(request: PrepareRequest, tasks: readonly NodeTask[]): Promise<FleetRun>
  /** All say hello in the same moment, as to a controller that has come back, until they are answered. */
  hello(): Promise<void>
  /** The Epilogs. */
  end(run: Run): Promise<void>
  stop(): Promise<void>
}

const processes = 2

export async function startFleet(config: string, nodes: readonly NodeAddress[]): Promise<Fleet> {
  const workers = Array.from({ length: Math.min(processes, nodes.length) }, () => openWorker())
  const shareOf = <T>(items: readonly T[], worker: number) => items.filter((_, at) => at % workers.length === worker)
  const place = new Map(nodes.map(({ name }, at) => [name, at % workers.length]))
  const stop = async () => {
    await Promise.all(workers.map((worker) => worker.ask({ type: 'stop' }).catch(() => {})))
    for (const worker of workers) worker.child.disconnect()
  }
  try {
    await Promise.all(workers.map((worker, at) => worker.ask({ type: 'start', config, nodes: shareOf(nodes, at) })))
  } catch (error) {
    await stop()
    throw error
  }
  return {
    async run(request, tasks) {
      const answers = await Promise.all(
        workers.map((worker, at) => {
          return worker.ask({ type: 'run', request, tasks: tasks.filter(({ node }) => place.get(node) === at) })
        }),
      )
      return {
        outcomes: answers.flatMap(({ outcomes = [] }) => outcomes),
        cpuMs: answers.reduce((sum, { cpuMs = 0 }) => sum + cpuMs, 0),
      }
    },
    async hello() {
      await Promise.all(workers.map((worker) => worker.ask({ type: 'hello' })))
    },
    async end(run) {
      await Promise.all(workers.map((worker) => worker.ask({ type: 'end', run })))
    },
    stop,
  }
}

interface Worker {
  readonly child: ChildProcess
  ask(request: FleetRequest): Promise<FleetAnswer>
}

function openWorker(): Worker {
  const child = fork(new URL('./fleet-worker.ts', import.meta.url), {
    execArgv: ['--disable-warning=ExperimentalWarning'],
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const waiting = new Map<number, PromiseWithResolvers<FleetAnswer>>()
  let next = 1
  child.on('message', ({ id, body }: { id: number; body: FleetAnswer }) => {
    const waiter = waiting.get(id)
    waiting.delete(id)
    if (body.error === undefined) waiter?.resolve(body)
    else waiter?.reject(new Error(body.error))
  })
  child.on('exit', (code) => {
    for (const waiter of waiting.values()) waiter.reject(new Error(`a process of simulated nodes ended with ${code}`))
  })
  return {
    child,
    ask(request) {
      const waiter = Promise.withResolvers<FleetAnswer>()
      const id = next++
      waiting.set(id, waiter)
      child.send({ id, request })
      return waiter.promise
    },
  }
}

// What nodes have told of the runs that they hold, kept over as many questions as it takes. It changes nothing.
import { toVmrmError } from '../../../errors/vmrm-error.ts'
import type { Run } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import { createSemaphore } from '../../semaphore.ts'
import type { NodeTeller } from '../node-ports.ts'
import type { ToldRun } from './told-run.ts'

const nodesAtOnce = 64
const askMs = 60_000

export class NodeAnswers {
  readonly #nodes: Pick<NodeTeller, 'heldRuns' | 'tellRun'>
  readonly #log: Log
  readonly #atOnce = createSemaphore(nodesAtOnce)
  readonly #told = new Map<string, readonly ToldRun[]>()

  constructor({ nodes, log }: { nodes: Pick<NodeTeller, 'heldRuns' | 'tellRun'>; log: Log }) {
    this.#nodes = nodes
    this.#log = log
  }

  /** Asks each for those of its runs. Who does not answer is not among `answered`; never rejects. */
  async ask(nodes: readonly string[], which: (run: Run) => boolean): Promise<void> {
    const askOne = async (node: string) => {
      try {
        this.#told.set(node, await this.#atOnce.run(() => this.#runsOf(node, which), AbortSignal.timeout(askMs)))
      } catch (error) {
        this.#log.debug('rebuild.no-answer', { node, text: toVmrmError(error).message })
      }
    }
    await Promise.all(nodes.map(askOne))
  }

  /** The nodes that have told all that they were asked. */
  answered(): ReadonlySet<string> {
    return new Set(this.#told.keys())
  }

  all(): readonly ToldRun[] {
    return [...this.#told.values()].flat()
  }

  /** The node has told, and holds nothing of the run. */
  isWithout(node: string, run: Run): boolean {
    const told = this.#told.get(node)
    return told !== undefined && !told.some((each) => each.job === run.job && each.restart === run.restart)
  }

  clear(): void {
    this.#told.clear()
  }

  async #runsOf(node: string, which: (run: Run) => boolean): Promise<readonly ToldRun[]> {
    const told: ToldRun[] = []
    for (const run of await this.#nodes.heldRuns(node)) {
      const answer = which(run) ? await this.#nodes.tellRun(node, run) : undefined
      if (answer !== undefined) told.push(answer)
    }
    return told
  }
}

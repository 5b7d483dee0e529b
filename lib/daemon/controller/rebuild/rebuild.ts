// Makes the ledger know every lease again after it was lost or put back from an older copy: the nodes tell what they hold,
// Slurm which of them may hold something. Until all of those have told nothing is leased; jobs wait with a sentence.
import { setTimeout as delay } from 'node:timers/promises'
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { type Run, runId } from '../../../job/run.ts'
import type { NodeTeller } from '../node-ports.ts'
import { MustWait } from '../waiting-room.ts'
import { NodeAnswers } from './node-answers.ts'
import { type RoundOptions, rebuildRound } from './rebuild-round.ts'

const pauseMs = 1000
const longestPauseMs = 10_000
/** Nodes that are silent hold up nobody where nothing speaks against the ledger. */
const lookMs = 5000
const namedNodes = 8

export interface Rebuild {
  /** Works until every lease is known; asks again and again, with pauses. Of a trusted ledger it looks once whether that is so. */
  run(signal: AbortSignal): Promise<void>
  isDone(): boolean
  /** Resolves when leases may be given out; after `ms` it throws `ledger-rebuilding`, which names the nodes waited for. */
  mayLease(ms: number): Promise<void>
  /** A node holds a run that the ledger does not know. If it has leases the ledger is doubted, and all nodes are asked. */
  stranger(node: string, run: Run): Promise<void>
}

export interface RebuildOptions extends RoundOptions {
  readonly nodes: Pick<NodeTeller, 'heldRuns' | 'tellRun'>
}

export function createRebuild(options: RebuildOptions): Rebuild {
  return new LedgerRebuild(options)
}

class LedgerRebuild implements Rebuild {
  readonly #options: RebuildOptions
  readonly #answers: NodeAnswers
  /** What it waits for, as a user reads it. */
  #problem = 'for its nodes'
  #working: Promise<void> | undefined
  #stop: AbortSignal | undefined

  constructor(options: RebuildOptions) {
    this.#options = options
    this.#answers = new NodeAnswers(options)
  }

  run(signal: AbortSignal): Promise<void> {
    this.#stop = signal
    this.#working ??= this.#work(signal).finally(() => {
      this.#working = undefined
    })
    return this.#working
  }

  isDone(): boolean {
    return this.#options.ledger.trust.isTrusted()
  }

  async mayLease(ms: number): Promise<void> {
    if (this.#working !== undefined) await Promise.race([this.#working, delay(ms, undefined, { ref: false })])
    if (this.isDone()) return
    const text = `the controller has lost its records and waits ${this.#problem}`
    throw new MustWait(new VmrmError('ledger-rebuilding', text), { image: '', vms: 0 })
  }

  async stranger(node: string, unknown: Run): Promise<void> {
    const { ledger, nodes, log } = this.#options
    if (!this.isDone()) return
    const told = await nodes.tellRun(node, unknown)
    if (told === undefined || ledger.find(unknown) !== undefined) return
    log.error('run.not-in-ledger', { run: runId(unknown), node })
    ledger.trust.doubt()
    if (this.#stop !== undefined) void this.run(this.#stop)
  }

  async #work(signal: AbortSignal): Promise<void> {
    const { ledger, log } = this.#options
    this.#answers.clear()
    if (this.isDone() && (await this.#isComplete())) return
    this.#answers.clear()
    if (signal.aborted) return
    ledger.trust.doubt()
    log.warn('ledger.rebuild', { leases: ledger.leaseCount() })
    for (let pause = pauseMs; !signal.aborted; pause = Math.min(pause * 2, longestPauseMs)) {
      const outcome = await this.#round(signal)
      if (outcome === 'done') return
      log.warn('ledger.rebuild-waits', { text: this.#problem })
      await delay(pause, undefined, { signal }).catch(() => {}) // the loop looks at the signal
    }
  }

  async #round(signal: AbortSignal): Promise<'done' | 'waiting'> {
    const { ledger, log } = this.#options
    try {
      const missing = await rebuildRound(this.#answers, this.#options, signal)
      if (missing.length > 0) {
        this.#problem = `for nodes that may hold VMs and do not answer: ${someOf(missing)}`
        return 'waiting'
      }
      ledger.trust.trust()
      log.info('ledger.rebuilt', { nodes: this.#answers.answered().size, leases: ledger.leaseCount() })
      return 'done'
    } catch (error) {
      const { code, message } = toVmrmError(error)
      this.#problem = code === 'command-failed' ? `for Slurm: ${message}` : `until they can be written: ${message}`
      return 'waiting'
    }
  }

  /** A look whether nodes that answer hold what a trusted ledger does not know: then it is an older one all the same. */
  async #isComplete(): Promise<boolean> {
    const { ledger, slurm, log } = this.#options
    const look = async () => {
      const states = await slurm.nodeStates()
      const inUse = [...states].filter(([, state]) => state === 'doubtful').map(([node]) => node)
      await this.#answers.ask(inUse, (run) => ledger.find(run) === undefined)
    }
    const looked = look().catch((error: unknown) =>
      log.warn('ledger.not-checked', { text: toVmrmError(error).message }),
    )
    await Promise.race([looked, delay(lookMs, undefined, { ref: false })])
    const strangers = this.#answers.all()
    for (const run of strangers) log.error('run.not-in-ledger', { run: runId(run), node: run.node })
    return strangers.length === 0
  }
}

function someOf(nodes: readonly string[]): string {
  const more = nodes.length > namedNodes ? ` and ${nodes.length - namedNodes} more` : ''
  return `${nodes.slice(0, namedNodes).join(', ')}${more}`
}

// Makes the ledger know every lease again after it was lost or put back from an older copy: the nodes tell what they hold,
// Slurm which of them may hold something. Until all of those have told nothing is leased; jobs wait with a sentence.
import { setTimeout as delay } from 'node:timers/promises'
import { toVmrmError, VmrmError } from '../../../errors/vmrm-error.ts'
import { isBatch, type Run, runId } from '../../../job/run.ts'
import type { Log } from '../../../log.ts'
import type { SlurmCommands } from '../../../slurm/commands.ts'
import type { JobState, NodeState } from '../../../slurm/job-details.ts'
import { createSemaphore } from '../../semaphore.ts'
import type { Ledger } from '../ledger/ledger.ts'
import type { Transactions } from '../transaction/transaction.ts'
import { MustWait } from '../waiting-room.ts'
import { runFromNodes, type ToldRun } from './told-run.ts'

const nodesAtOnce = 64
const askMs = 60_000
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

/** What nodes are asked. Both reject when the node does not answer. */
export interface NodeTeller {
  /** Every run in the node's journal. */
  heldRuns(node: string, timeoutMs?: number): Promise<readonly Run[]>
  /** Undefined if the node has no share of it. */
  tellRun(node: string, run: Run): Promise<ToldRun | undefined>
}

export interface RebuildOptions {
  readonly ledger: Ledger
  readonly transactions: Pick<Transactions, 'end' | 'nodeEnded'>
  readonly slurm: Pick<SlurmCommands, 'jobStates' | 'nodeStates'>
  readonly nodes: NodeTeller
  readonly log: Log
  /** What an undecided run has until it is aborted. */
  readonly prepareMs: number
  readonly now: () => number
}

export function createRebuild(options: RebuildOptions): Rebuild {
  const { ledger, slurm, nodes, log } = options
  const answers = new Map<string, readonly ToldRun[]>()
  const atOnce = createSemaphore(nodesAtOnce)
  let missing: readonly string[] = []
  let problem = 'for its nodes'
  let working: Promise<void> | undefined
  let stop: AbortSignal | undefined

  const ask = async (node: string, of: (run: Run) => boolean): Promise<readonly ToldRun[]> => {
    const told: ToldRun[] = []
    for (const run of await nodes.heldRuns(node)) {
      const answer = of(run) ? await nodes.tellRun(node, run) : undefined
      if (answer !== undefined) told.push(answer)
    }
    return told
  }
  const askAll = (names: readonly string[], of: (run: Run) => boolean) =>
    Promise.all(
      names.map(async (node) => {
        try {
          answers.set(node, await atOnce.run(() => ask(node, of), AbortSignal.timeout(askMs)))
        } catch (error) {
          log.debug('rebuild.no-answer', { node, text: toVmrmError(error).message })
        }
      }),
    )

  const round = async (signal: AbortSignal): Promise<'done' | 'waiting'> => {
    const [states, jobs] = await Promise.all([slurm.nodeStates(), slurm.jobStates()])
    const inLedger = ledger.inState('preparing', 'committed', 'aborted', 'lost', 'ending')
    const holders = inLedger.flatMap((run) => ledger.shares(run).map(({ node }) => node))
    const asked = new Set([...states.keys(), ...holders].filter((node) => states.get(node) !== 'off'))
    const silent = [...asked].filter((node) => !answers.has(node))
    await askAll(silent, () => true)
    signal.throwIfAborted()
    takeUp({ ...options, told: [...answers.values()].flat(), answered: new Set(answers.keys()) })
    for (const run of inLedger) {
      const state = isBatch(run) ? stateOfBatch(run) : (jobs.get(run.job) ?? 'ended')
      if (state !== 'ended' && state !== 'pending') continue
      options.transactions.end(run)
      for (const { node } of ledger.shares(run))
        if (answers.has(node) && !holds(answers.get(node), run)) options.transactions.nodeEnded(run, node)
    }
    missing = notHeard(states, answers, ledger.goneNodes())
    return missing.length === 0 ? 'done' : 'waiting'
  }

  /** Slurm cannot say whether it was destroyed since; that none of its nodes has it can only mean that. */
  const stateOfBatch = (run: Run): JobState => {
    const isGone = ({ node }: { node: string }) => answers.has(node) && !holds(answers.get(node), run)
    return ledger.shares(run).every(isGone) ? 'ended' : 'active'
  }

  /** A look whether nodes that answer hold what a trusted ledger does not know: then it is an older one all the same. */
  const isComplete = async (): Promise<boolean> => {
    const look = async () => {
      const states = await slurm.nodeStates()
      const inUse = [...states].filter(([, state]) => state === 'doubtful').map(([node]) => node)
      await askAll(inUse, (run) => ledger.find(run) === undefined)
    }
    const looked = look().catch((error: unknown) =>
      log.warn('ledger.not-checked', { text: toVmrmError(error).message }),
    )
    await Promise.race([looked, delay(lookMs, undefined, { ref: false })])
    const strangers = [...answers.values()].flat()
    for (const run of strangers) log.error('run.not-in-ledger', { run: runId(run), node: run.node })
    return strangers.length === 0
  }

  const work = async (signal: AbortSignal): Promise<void> => {
    answers.clear()
    if (ledger.trust.isTrusted() && (await isComplete())) return
    answers.clear()
    if (signal.aborted) return
    ledger.trust.doubt()
    log.warn('ledger.rebuild', { leases: ledger.leaseCount() })
    for (let pause = pauseMs; !signal.aborted; pause = Math.min(pause * 2, longestPauseMs)) {
      try {
        if ((await round(signal)) === 'done') {
          ledger.trust.trust()
          log.info('ledger.rebuilt', { nodes: answers.size, leases: ledger.leaseCount() })
          return
        }
        const named = missing.slice(0, namedNodes).join(', ')
        const more = missing.length > namedNodes ? ` and ${missing.length - namedNodes} more` : ''
        problem = `for nodes that may hold VMs and do not answer: ${named}${more}`
      } catch (error) {
        problem = `for Slurm: ${toVmrmError(error).message}`
      }
      log.warn('ledger.rebuild-waits', { text: problem })
      await delay(pause, undefined, { signal }).catch(() => {}) // the loop looks at the signal
    }
  }

  const run = (signal: AbortSignal): Promise<void> => {
    stop = signal
    working ??= work(signal).finally(() => {
      working = undefined
    })
    return working
  }

  return {
    run,
    isDone: () => ledger.trust.isTrusted(),
    async mayLease(ms) {
      if (working !== undefined) await Promise.race([working, delay(ms, undefined, { ref: false })])
      if (ledger.trust.isTrusted()) return
      const text = `the controller has lost its records and waits ${problem}`
      throw new MustWait(new VmrmError('ledger-rebuilding', text), { image: '', vms: 0 })
    },
    async stranger(node, unknown) {
      if (!ledger.trust.isTrusted()) return
      const told = await nodes.tellRun(node, unknown)
      if (told === undefined || ledger.find(unknown) !== undefined) return
      log.error('run.not-in-ledger', { run: runId(unknown), node })
      ledger.trust.doubt()
      if (stop !== undefined) void run(stop)
    },
  }
}

function holds(told: readonly ToldRun[] | undefined, run: Run): boolean {
  return told?.some((each) => each.job === run.job && each.restart === run.restart) ?? false
}

/** Nodes that may hold something and have not told. */
function notHeard(
  states: ReadonlyMap<string, NodeState>,
  answers: ReadonlyMap<string, unknown>,
  gone: ReadonlySet<string>,
): readonly string[] {
  const doubtful = [...states].filter(([, state]) => state === 'doubtful').map(([node]) => node)
  return doubtful.filter((node) => !answers.has(node) && !gone.has(node)).sort()
}

/** Takes up what nodes hold and the ledger does not know, or knows less of than they do. */
function takeUp(options: RebuildOptions & { told: readonly ToldRun[]; answered: ReadonlySet<string> }): void {
  const { ledger, log, told, answered } = options
  const runs = Map.groupBy(told, (each) => runId(each) as string)
  for (const [name, [first, ...others]] of runs) {
    if (first === undefined) continue
    const known = ledger.find(first)
    const run = runFromNodes([first, ...others], { answered, deadlineMs: options.now() + options.prepareMs })
    const isNews =
      known === undefined ||
      (known.plan === undefined && known.state !== 'ended') ||
      (run.state !== 'preparing' &&
        run.state !== 'ending' &&
        (known.state === 'preparing' || known.state === 'aborted'))
    if (!isNews || known?.state === run.state) continue
    const moved = ledger.adopt(run)
    if (run.batch !== undefined) ledger.adoptBatch(run.batch)
    log.warn('run.taken-up', { run: name, state: run.state, nodes: run.shares.length })
    for (const { space, value } of moved) log.error('lease.moved', { run: name, space, value })
  }
}

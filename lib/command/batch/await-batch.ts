// Waits for what becomes of a batch, by asking the controller again and again. A controller that is restarted meanwhile is no
// reason to give up at once.
import { setTimeout as delay } from 'node:timers/promises'
import { catalogue, type ErrorCode } from '../../errors/catalogue.ts'
import { toVmrmError, VmrmError } from '../../errors/vmrm-error.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import type { ReplyOf } from '../../protocol/messages.ts'

export type ListedBatch = ReplyOf<'list-runs'>['runs'][number]

const firstPauseMs = 100
const longestPauseMs = 1000
/** Of a controller that is being restarted. */
export const awayMs = 60_000
/** Of a call about a batch: the controller may be looking for its records. */
export const callMs = 60_000
/** As long as a call that removes a run from a node may take, and a little. */
const removedMs = 100_000
/** A node that answers has long removed its VMs then. */
const slowMs = 3000

/** `known`: whatever it is. `decided`: its VMs are ready, or there are none. */
export type Until = 'known' | 'decided' | 'ended'

/**
 * Resolves to the batch once it is so, or `interrupted` when the signal aborts. One that is being removed is not waited for
 * longer than a node that answers takes for that: then it is as it is, with state `ending`. `onSlowEnd` is called once, where
 * that begins to take long.
 */
export async function awaitBatch(
  controller: Pick<ProtocolClient, 'call'>,
  options: { batch: number; until: Until; signal?: AbortSignal; onSlowEnd?: (batch: ListedBatch) => void },
): Promise<ListedBatch | 'interrupted'> {
  const { batch, until, signal } = options
  let { onSlowEnd } = options
  let heardMs = performance.now()
  let endingMs: number | undefined
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
    if (signal?.aborted === true) return 'interrupted'
    const run = await look(controller, batch).catch((error: unknown) => {
      if (performance.now() - heardMs > awayMs || toVmrmError(error).code !== 'controller-unreachable') throw error
      return undefined
    })
    if (run !== undefined) {
      heardMs = performance.now()
      if (run.state === 'ending') endingMs ??= heardMs
      if (endingMs !== undefined && heardMs - endingMs > slowMs && !isThere(run, until)) {
        onSlowEnd?.(run)
        onSlowEnd = undefined
      }
      if (isThere(run, until) || (endingMs !== undefined && heardMs - endingMs > removedMs)) return run
    }
    await delay(pauseMs, undefined, signal === undefined ? {} : { signal }).catch(() => {}) // the loop looks at the signal
  }
}

async function look(controller: Pick<ProtocolClient, 'call'>, batch: number): Promise<ListedBatch> {
  const { runs } = await controller.call('list-runs', { all: true, batch })
  const [run] = runs
  if (run === undefined) throw new VmrmError('batch-unknown', `the controller does not know batch b${batch} any more`)
  return run
}

function isThere({ state }: ListedBatch, until: Until): boolean {
  if (until === 'known' || state === 'ended') return true
  return until === 'decided' && (state === 'committed' || state === 'lost')
}

/** What is said of a batch that `awaitBatch` gives back while it is still `ending`. */
export function notConfirmed(batch: number): string {
  return `b${batch}: a node has not confirmed yet; it removes its VMs when it answers again`
}

/** The cause of its end; what a newer controller says is a peer's. */
export function codeOf({ code = 'run-ended' }: ListedBatch): ErrorCode {
  return Object.hasOwn(catalogue, code) ? (code as ErrorCode) : 'peer-error'
}

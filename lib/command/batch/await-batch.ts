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
const awayMs = 60_000

/** `known`: whatever it is. `decided`: its VMs are ready, or there are none. */
export type Until = 'known' | 'decided' | 'ended'

/** Resolves to the batch once it is so, or `interrupted` when the signal aborts. */
export async function awaitBatch(
  controller: Pick<ProtocolClient, 'call'>,
  options: { batch: number; until: Until; signal: AbortSignal },
): Promise<ListedBatch | 'interrupted'>
export async function awaitBatch(
  controller: Pick<ProtocolClient, 'call'>,
  options: { batch: number; until: Until; timeoutMs?: number },
): Promise<ListedBatch>
export async function awaitBatch(
  controller: Pick<ProtocolClient, 'call'>,
  options: { batch: number; until: Until; signal?: AbortSignal; timeoutMs?: number },
): Promise<ListedBatch | 'interrupted'> {
  const { batch, until, signal, timeoutMs = Number.POSITIVE_INFINITY } = options
  const beganMs = performance.now()
  let heardMs = beganMs
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
    if (signal?.aborted === true) return 'interrupted'
    const run = await look(controller, batch).catch((error: unknown) => {
      if (performance.now() - heardMs > awayMs || toVmrmError(error).code !== 'controller-unreachable') throw error
      return undefined
    })
    if (run !== undefined) {
      heardMs = performance.now()
      if (isThere(run, until) || heardMs - beganMs > timeoutMs) return run
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

/** The cause of its end; what a newer controller says is a peer's. */
export function codeOf({ code = 'run-ended' }: ListedBatch): ErrorCode {
  return Object.hasOwn(catalogue, code) ? (code as ErrorCode) : 'peer-error'
}

// Reports of nodes that are prepared, whose answer waits for the decision: then it needs no message, and no connection, of its
// own. It decides nothing, and holds nobody longer than its bound; whom it does not answer is told as everybody else.
import { type Run, runId } from '../../job/run.ts'
import type { NodeVerdict } from './transaction/verdict-of.ts'

export interface HeldReports {
  /** Resolves with what the node is told, or with nothing once the bound is over or the caller gone, and at once where too many of the node's are held. */
  hold(run: Run, node: string, signal?: AbortSignal): Promise<NodeVerdict | undefined>
  /** Whether a report of this node took that for its answer. */
  answer(run: Run, node: string, decided: NodeVerdict): boolean
  /** Lets all go. */
  close(): void
}

/**
 * Of one node, for all its runs. Its connection has places for 64 requests (`requestsPerConnection`), and its other calls must
 * not wait behind reports that are held: one of them may be what decides. Whoever is not held asks again each second.
 */
const heldOfNode = 16

export function createHeldReports(options: { holdMs: number }): HeldReports {
  // A report that comes twice is answered twice: nobody knows which answer arrives.
  const held = new Map<string, Set<{ of: string; settle: (told: NodeVerdict | undefined) => void }>>()
  return {
    hold(run, node, signal) {
      const ofNode = held.get(node) ?? new Set()
      if (ofNode.size >= heldOfNode) return Promise.resolve(undefined)
      const { promise, resolve } = Promise.withResolvers<NodeVerdict | undefined>()
      const settle = (told: NodeVerdict | undefined) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        ofNode.delete(report)
        if (ofNode.size === 0) held.delete(node)
        resolve(told)
      }
      const report = { of: runId(run), settle }
      const onAbort = () => settle(undefined)
      const timer = setTimeout(onAbort, options.holdMs)
      held.set(node, ofNode.add(report))
      signal?.addEventListener('abort', onAbort, { once: true })
      if (signal?.aborted === true) onAbort()
      return promise
    },
    answer(run, node, decided) {
      const reports = [...(held.get(node) ?? [])].filter(({ of }) => of === runId(run))
      for (const { settle } of reports) settle(decided)
      return reports.length > 0
    },
    close() {
      for (const { settle } of [...held.values()].flatMap((ofNode) => [...ofNode])) settle(undefined)
    },
  }
}

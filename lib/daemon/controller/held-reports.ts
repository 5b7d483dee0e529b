// Reports of nodes that are prepared, whose answer waits for the decision: then it needs no message, and no connection, of its
// own. It decides nothing, and holds nobody longer than its bound; whom it does not answer is told as everybody else.
import { type Run, runId } from '../../job/run.ts'
import type { NodeVerdict } from './verdict-of.ts'

export interface HeldReports {
  /** Resolves with what the node is told, or with nothing once the bound is over or the caller gone. */
  hold(run: Run, node: string, signal?: AbortSignal): Promise<NodeVerdict | undefined>
  /** Whether a report of this node took that for its answer. */
  answer(run: Run, node: string, decided: NodeVerdict): boolean
  /** Lets all go. */
  close(): void
}

export function createHeldReports(options: { holdMs: number }): HeldReports {
  // A report that comes twice is answered twice: nobody knows which answer arrives.
  const held = new Map<string, Set<(told: NodeVerdict | undefined) => void>>()
  const keyOf = (run: Run, node: string) => `${runId(run)} ${node}`
  return {
    hold(run, node, signal) {
      const key = keyOf(run, node)
      const { promise, resolve } = Promise.withResolvers<NodeVerdict | undefined>()
      const settle = (told: NodeVerdict | undefined) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
        const all = held.get(key)
        all?.delete(settle)
        if (all?.size === 0) held.delete(key)
        resolve(told)
      }
      const onAbort = () => settle(undefined)
      const timer = setTimeout(onAbort, options.holdMs)
      held.set(key, (held.get(key) ?? new Set()).add(settle))
      signal?.addEventListener('abort', onAbort, { once: true })
      if (signal?.aborted === true) onAbort()
      return promise
    },
    answer(run, node, decided) {
      const all = [...(held.get(keyOf(run, node)) ?? [])]
      for (const settle of all) settle(decided)
      return all.length > 0
    },
    close() {
      for (const settle of [...held.values()].flatMap((all) => [...all])) settle(undefined)
    },
  }
}

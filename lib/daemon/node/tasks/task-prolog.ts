// The site's TaskProlog, as Slurm's own configuration names it: asked for seldom, and the last answer stands while Slurm does not answer.
import type { Log } from '../../../log.ts'

const maxAgeMs = 300_000

/** A function that says where the program is; undefined where there is none. It never rejects. */
export function createTaskProlog(options: {
  /** From slurm.conf, as Slurm reads it. */
  readonly ask: () => Promise<string | undefined>
  readonly log: Log
  readonly now: () => number
}): () => Promise<string | undefined> {
  const { ask, log, now } = options
  let known: { path: string | undefined; atMs: number } | undefined
  let asking: Promise<void> | undefined
  const refresh = async () => {
    try {
      known = { path: await ask(), atMs: now() }
    } catch (error) {
      log.warn('task-prolog.unknown', { text: String(error) })
    } finally {
      asking = undefined
    }
  }
  return async () => {
    if (known === undefined || now() - known.atMs > maxAgeMs) asking ??= refresh()
    // Only the first ones wait; later a task is not held up for what seldom changes.
    if (known === undefined) await asking
    return known?.path
  }
}

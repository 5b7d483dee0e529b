// Drains of nodes by vmrm, and the lifting of those that are its own, one after another for each node: a lift that overtook a
// drain would leave the node drained and nobody who knows that. It never decides that a node is at fault.
import type { ErrorCode } from '../../errors/catalogue.ts'
import { toVmrmError } from '../../errors/vmrm-error.ts'
import type { Log } from '../../log.ts'
import type { SlurmCommands } from '../../slurm/commands.ts'
import { createSemaphore, type Semaphore } from '../semaphore.ts'
import type { Ledger } from './ledger/ledger.ts'

export interface NodeDrains {
  /** Rejects as Slurm does, and where it could not be written that the drain is vmrm's to lift. */
  drain(node: string, cause: { code: string; reason: string }): Promise<void>
  /** Lifts a drain of vmrm's own, if there is one; returns at once. What fails is done again at the next call. */
  lift(node: string): void
}

/** Only what a node tells of itself (its hello's health) can be seen to be over; other drains are the administrators' to lift. */
const seenToBeOver: ReadonlySet<string> = new Set<ErrorCode>([
  'libvirt-unreachable',
  'node-daemon-down',
  'parts-missing',
])

/** Slurm's commands have bounds of their own. */
const never = new AbortController().signal

export function createNodeDrains(options: {
  ledger: Pick<Ledger, 'isDrained' | 'setDrained'>
  slurm: Pick<SlurmCommands, 'drain' | 'resumeOwnDrain'>
  log: Log
}): NodeDrains {
  const { ledger, slurm, log } = options
  const turns = new Map<string, Semaphore>()
  const inTurn = (node: string, work: () => Promise<void>): Promise<void> => {
    const turn = turns.get(node) ?? createSemaphore(1)
    turns.set(node, turn)
    return turn.run(work, never)
  }
  const lifting = new Set<string>()

  /** False where that cannot be written. */
  const record = (node: string): boolean => {
    try {
      ledger.setDrained(node, 'drained')
      return true
    } catch (error) {
      log.warn('node.drain-not-recorded', { node, text: toVmrmError(error).message })
      return false
    }
  }

  const liftNow = async (node: string) => {
    if (!ledger.isDrained(node)) return
    const outcome = await slurm.resumeOwnDrain(node)
    // Until then the next hello does it again.
    ledger.setDrained(node, 'not-drained')
    log.info('node.resumed', { node, outcome })
  }

  return {
    drain: (node, { code, reason }) =>
      inTurn(node, async () => {
        // First, or nobody would lift the drain if this daemon died now. A ledger that cannot be written holds up no drain.
        const isRecorded = !seenToBeOver.has(code) || record(node)
        await slurm.drain(node, reason)
        log.error('node.drained', { node, reason })
        if (!isRecorded) ledger.setDrained(node, 'drained')
      }),
    lift(node) {
      if (!ledger.isDrained(node) || lifting.has(node)) return
      lifting.add(node)
      inTurn(node, () => liftNow(node))
        .catch((error: unknown) => log.warn('node.not-resumed', { node, text: toVmrmError(error).message }))
        .finally(() => lifting.delete(node))
    },
  }
}

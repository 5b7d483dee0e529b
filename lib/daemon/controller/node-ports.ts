// What the controller tells nodes' daemons and asks them, as ports; node-caller.ts is the real one.
import type { Run } from '../../job/run.ts'
import type { RunRecord } from './ledger/ledger.ts'
import type { BatchRecord } from './ledger/ledger-batches.ts'
import type { ToldRun } from './rebuild/told-run.ts'
import type { NodeVerdict } from './transaction/verdict-of.ts'

/** Calls to the nodes' daemons. All reject when the node does not answer. */
export interface NodeCaller {
  verdict(node: string, run: Run, decided: NodeVerdict): Promise<void>
  destroyRun(node: string, run: Run): Promise<void>
  /** Resolves when the node has begun to make its VMs of a batch, or did so before. */
  prepareBatch(node: string, run: RunRecord, batch: BatchRecord): Promise<void>
  /** Resolves when the node has marked the job as one of VMs. */
  expectRun(node: string, run: Run, script: 'guest' | 'host'): Promise<void>
}

/** What nodes are asked. Both questions reject when the node does not answer. */
export interface NodeTeller {
  /** Whether it answers at all; never rejects. */
  answers(node: string, timeoutMs?: number): Promise<boolean>
  /** Every run in the node's journal. */
  heldRuns(node: string, timeoutMs?: number): Promise<readonly Run[]>
  /** Undefined if the node has no share of it. */
  tellRun(node: string, run: Run): Promise<ToldRun | undefined>
}

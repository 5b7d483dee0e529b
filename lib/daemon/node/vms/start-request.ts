// What a VM's start is asked with. No I/O.
import type { Image } from '../../../config/image-schema.ts'
import type { VmrmError } from '../../../errors/vmrm-error.ts'
import type { Share } from '../../../protocol/messages/share.ts'
import type { Account } from '../../account.ts'
import type { JournalEntry } from '../runs/journal.ts'
import type { CloneSource } from './domain-of.ts'

export type PlannedVm = Share['vms'][number]

export interface StartRequest {
  readonly entry: JournalEntry
  readonly share: Share
  /** Counts the run's VMs on this node from 0. */
  readonly position: number
  readonly image: Image
  readonly account: Account
  /** What the VM is cloned from; absent: it boots. */
  readonly source?: CloneSource | undefined
  /** The clone has ended and the same VM will boot: called between the two. */
  readonly onFallback: (problem: VmrmError) => void
}

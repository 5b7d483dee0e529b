// A run on this node while the daemon lives: its journal entry, its VMs' channels, and who waits for the verdict.
// It does no I/O but the journal's.
import { EventEmitter, once } from 'node:events'
import type { GuestChannel } from '../../../guest/channel/channel.ts'
import { runId, vmName } from '../../../job/run.ts'
import { isDiskFull } from '../../durable-file.ts'
import { orAborted } from '../../or-aborted.ts'
import type { Journal, JournalEntry } from './journal.ts'

export interface LiveVm {
  /** Counts over the whole run. */
  readonly index: number
  readonly name: string
  readonly hostname: string
  readonly channel: GuestChannel
}

export class LiveRun {
  readonly name: string
  readonly vms = new Map<number, LiveVm>()
  /** Why VMs ended that were ready while others were still being made, by name. */
  readonly endedEarly = new Map<string, string>()
  /** Why VMs did not come up that the job can do without, by name. */
  readonly missing = new Map<string, string>()
  /** Resolves when the controller has heard why the run is lost, or that was given up; tasks hear of it afterwards. */
  causeTold: Promise<unknown> = Promise.resolve()
  /** Stops the making of its VMs; the reason is what the user reads. */
  readonly stop = new AbortController()
  #entry: JournalEntry
  /** The newest entry that is on disk: what those who wait for the verdict are told. */
  #told: JournalEntry
  readonly #journal: Journal
  readonly #changes = new EventEmitter()
  #writes: Promise<unknown> = Promise.resolve()
  #queue: Promise<unknown> = Promise.resolve()

  constructor(entry: JournalEntry, journal: Journal) {
    this.name = runId(entry)
    this.#entry = entry
    this.#told = entry
    this.#journal = journal
    this.#changes.setMaxListeners(0)
  }

  get entry(): JournalEntry {
    return this.#entry
  }

  /** Changes the entry; durable when it returns, and waiters are told only then. If it cannot be written it is as before. */
  async record(change: Partial<JournalEntry>): Promise<void> {
    await this.#change(change, 'undo')
  }

  /**
   * Records that the run, or a VM of it, ends; a disk with no room for it does not hold that up. If the daemon is restarted before
   * the removal is done it finds the state from before, and the controller or the hypervisor tells it that the run is over.
   */
  async recordEnd(
    change: Partial<JournalEntry> &
      ({ state: 'refused' | 'lost' | 'removing' } | { missing: NonNullable<JournalEntry['missing']> }),
  ): Promise<void> {
    await this.#change(change, 'keep')
  }

  /** One piece of work on this run at a time, in the order they were asked for. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work)
    this.#queue = result.then(
      () => {},
      () => {},
    )
    return result
  }

  /** Waits until no exclusive work is under way or waiting, such as taking the run up after a restart. */
  async idle(signal: AbortSignal): Promise<void> {
    for (let queue: Promise<unknown> | undefined; queue !== this.#queue; ) {
      queue = this.#queue
      await orAborted(queue, signal)
    }
  }

  /** Waits until the run is neither being prepared nor undecided. Rejects with the signal's reason. */
  async decided(signal: AbortSignal): Promise<JournalEntry> {
    while (this.#told.state === 'preparing' || this.#told.state === 'prepared') {
      await once(this.#changes, 'change', { signal })
    }
    return this.#told
  }

  /** The VM at a position among those of this node, counted from 0. */
  vmAt(position: number): LiveVm | undefined {
    const planned = this.#entry.share?.vms[position]
    return planned === undefined ? undefined : this.vms.get(planned.index)
  }

  /** The VM's name at a position, also where the VM is gone. */
  nameAt(position: number): string {
    const index = this.#entry.share?.vms[position]?.index
    return index === undefined ? `VM ${position} of ${this.name}` : vmName(this.#entry, index)
  }

  /** The reason why the VM at a position did not come up, where the job began without it. */
  whyMissing(position: number): string | undefined {
    const name = this.nameAt(position)
    return this.#entry.missing?.find(({ vm }) => vm === name)?.reason
  }

  closeChannels(reason: string): void {
    for (const vm of this.vms.values()) vm.channel.close(reason)
    this.vms.clear()
  }

  /** A verdict may come while something else is being recorded, so the journal is written in the order of the changes. */
  async #change(change: Partial<JournalEntry>, whenDiskIsFull: 'undo' | 'keep'): Promise<void> {
    const before = this.#entry
    const entry = { ...before, ...change }
    this.#entry = entry
    const written = this.#writes.then(() => this.#journal.write(entry))
    this.#writes = written.catch(() => {}) // it is thrown below; the next one is written all the same
    try {
      await written
    } catch (error) {
      if (whenDiskIsFull === 'undo' || !isDiskFull(error)) {
        if (this.#entry === entry) this.#entry = before
        throw error
      }
    }
    this.#told = entry
    this.#changes.emit('change')
  }
}

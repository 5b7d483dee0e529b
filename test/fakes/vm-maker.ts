// A stand-in for what makes VMs: it keeps what exists, and can be told to fail, to wait, and to lose VMs.
import { EventEmitter } from 'node:events'
import type { KnownRuns, VmMaker } from '../../lib/daemon/node/ports.ts'
import type { LiveVm } from '../../lib/daemon/node/runs/live-run.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import type { GuestChannel } from '../../lib/guest/channel/channel.ts'
import { runId } from '../../lib/job/run.ts'
import type { Share } from '../../lib/protocol/messages/share.ts'

export interface FakeVmMaker extends VmMaker {
  /** Runs that have VMs. */
  readonly existing: Set<string>
  readonly removals: string[]
  /** What `make` does before it succeeds. */
  onMake: (signal: AbortSignal) => Promise<void>
  /** What `remove` does before it succeeds. */
  onRemove: () => Promise<void>
}

export function createFakeVmMaker(): FakeVmMaker {
  const channel = Object.assign(new EventEmitter(), { close: () => {} }) as unknown as GuestChannel
  const live = ({ index, name, hostname }: Share['vms'][number]): LiveVm => ({ index, name, hostname, channel })
  const ended = (vm: string) => ({ vm, error: new VmrmError('vm-lost', `VM ${vm} ended while vmrmd was down`) })
  const maker: FakeVmMaker = {
    existing: new Set(),
    removals: [],
    onMake: async () => {},
    onRemove: async () => {},
    async make(run, share, signal) {
      maker.existing.add(run.name)
      await maker.onMake(signal)
      return share.vms.map(live)
    },
    async adopt(run, share) {
      const missing = new Set(run.entry.missing?.map(({ vm }) => vm))
      const made = share.vms.filter(({ name }) => !missing.has(name))
      if (!maker.existing.has(run.name)) return { there: [], gone: made.map(({ name }) => ended(name)) }
      return { there: made.map(live), gone: [] }
    },
    async remove(entry) {
      await maker.onRemove()
      maker.existing.delete(runId(entry))
      maker.removals.push(runId(entry))
      return { peakMemoryBytes: 1, cpuTimeNs: 2 }
    },
    destroyVm: async () => {},
    async removeStrays(known: KnownRuns) {
      for (const run of maker.existing) if (!known.hasRun(run)) maker.existing.delete(run)
    },
    consoleTail: async () => 'Kernel panic - not syncing',
  }
  return maker
}

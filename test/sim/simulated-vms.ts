// A simulation: VMs that exist in memory only and take as long as real ones were measured to take. It owns those latencies;
// everything around it on a simulated node (runs, journal's states, protocol) is the real thing.
import { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { VmMaker } from '../../lib/daemon/node/ports.ts'
import type { LiveRun, LiveVm } from '../../lib/daemon/node/runs/live-run.ts'
import type { GuestChannel } from '../../lib/guest/channel/channel.ts'
import { runId } from '../../lib/job/run.ts'

/**
 * What a node's parts take, in ms, as measured with QEMU 7.2 under TCG, libvirt 9.0: the network of a run on two nodes; a clone
 * through libvirt, of which four at a time are as fast as more; the rest of a clone's way to its agent's answer; the end of 20.
 */
export const measured = { networkMs: 63, createMs: 300, createsAtOnce: 4, answerMs: 420, destroyMs: 220 } as const

/** Each latency lies within this part around the measured one. */
const spread = 0.1

/** A small generator of numbers from 0 to 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** How long a node takes for this many VMs: they are created a few at a time, each answers some time after its creation. */
export function makingMs(vms: number, random: () => number): number {
  const vary = (ms: number) => ms * (1 + spread * (2 * random() - 1))
  const freeAt = Array.from({ length: measured.createsAtOnce }, () => vary(measured.networkMs))
  let lastMs = 0
  for (let vm = 0; vm < vms; vm += 1) {
    const at = freeAt.indexOf(Math.min(...freeAt))
    freeAt[at] = (freeAt[at] ?? 0) + vary(measured.createMs)
    lastMs = Math.max(lastMs, (freeAt[at] ?? 0) + vary(measured.answerMs))
  }
  return lastMs
}

export interface SimulatedVms extends VmMaker {
  /** How many VMs of a run there are. */
  count(run: string): number
  /** What the next `make` is to take. */
  nextMs: number
}

export function createSimulatedVms(): SimulatedVms {
  const channel = Object.assign(new EventEmitter(), { close: () => {} }) as unknown as GuestChannel
  const existing = new Map<string, number>()
  const toLive = (run: LiveRun) => (run.entry.share?.vms ?? []).map((vm): LiveVm => ({ ...vm, channel }))
  const vms: SimulatedVms = {
    nextMs: 0,
    count: (run) => existing.get(run) ?? 0,
    async make(run, share, signal) {
      existing.set(run.name, share.vms.length)
      await delay(vms.nextMs, undefined, { signal }).catch(() => {
        throw signal.reason
      })
      return toLive(run)
    },
    adopt: async (run) => ({ there: toLive(run), gone: [] }),
    async remove(entry) {
      const name = runId(entry)
      if (existing.has(name)) await delay(measured.destroyMs)
      existing.delete(name)
      return { peakMemoryBytes: 0, cpuTimeNs: 0 }
    },
    destroyVm: async () => {},
    removeStrays: async () => {},
    consoleTail: async () => '',
  }
  return vms
}

// The time of day in VMs: a guest loses some whenever its CPUs wait for the host's or it is paused, and has nobody else to ask.
// It owns only when they are told; the agent sees whether its clock is behind.
import type { LiveRun } from './runs/live-run.ts'

/** What a guest may be behind for long, at the price of one frame. */
export const tellTimeMs = 20_000

export function tellTime(runs: readonly LiveRun[], nowMs: number): void {
  for (const run of runs) for (const { channel } of run.vms.values()) channel.tellTime(BigInt(nowMs) * 1_000_000n)
}

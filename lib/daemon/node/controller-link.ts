// The node's calls to the controller, as the runs need them.
import { runId } from '../../job/run.ts'
import type { ProtocolClient } from '../../protocol/client.ts'
import type { ReplyOf } from '../../protocol/messages.ts'
import { asReason } from '../../protocol/reason.ts'
import { heldRuns } from './node-handlers.ts'
import type { ControllerLink, Told } from './ports.ts'
import { openShare } from './runs/open-share.ts'

const callMs = 10_000
/** All nodes of a run ask at once; whoever asks again makes that longer. */
const shareMs = 20_000
/** Longer than the controller holds its answer. */
const decisionMs = 45_000
/** The controller asks Slurm. */
const askSlurmMs = 40_000
const jobsAtOnce = 1000
/** The controller puts some words in front. */
const reasonLimit = 16_000
/** Of each of many VMs: its sentence; the console's lines are in the node's log. */
const missingReasonLimit = 1000

export function createControllerLink(options: {
  client: ProtocolClient
  node: string
  /** Where other nodes reach this one. */
  address: string
  health: () => 'ready' | 'fault'
}): ControllerLink {
  const { client, node, address, health } = options
  const timeoutMs = callMs
  return {
    async getShare({ job, restart }, signal) {
      const options = { timeoutMs: shareMs, signal }
      const { state, reason, share } = await client.call('get-share', { job, restart, node }, options)
      if (state === 'share' && share !== undefined) return { state, share: openShare({ job, restart }, share) }
      if (state === 'refused') return { state, reason: reason ?? `run ${runId({ job, restart })} was refused` }
      return { state: state === 'pending' ? 'pending' : 'unknown' }
    },
    async reportPrepared({ job, restart }, missing, signal) {
      const lacks = missing.map(({ vm, reason }) => ({ vm, reason: asReason(reason, missingReasonLimit) }))
      const options = { timeoutMs: decisionMs, signal }
      return toTold(await client.call('report-prepared', { job, restart, node, missing: lacks }, options))
    },
    async reportFailed({ job, restart }, { code, reason }) {
      const body = { job, restart, node, code, reason: asReason(reason, reasonLimit) }
      await client.call('report-failed', body, { timeoutMs })
    },
    async reportEnded({ job, restart }, usage) {
      const body = {
        ...{ job, restart, node },
        peakMemoryBytes: BigInt(Math.round(usage.peakMemoryBytes)),
        cpuTimeNs: BigInt(Math.round(usage.cpuTimeNs)),
      }
      await client.call('report-ended', body, { timeoutMs })
    },
    async reportLost({ job, restart }, { vm, reason }) {
      await client.call('report-lost', { job, restart, node, vm, reason: asReason(reason, reasonLimit) }, { timeoutMs })
    },
    async getVerdict({ job, restart }) {
      return toTold(await client.call('get-verdict', { job, restart, node }, { timeoutMs }))
    },
    async endedJobs(jobs) {
      const request = { node, jobs: jobs.slice(0, jobsAtOnce).map((job) => ({ job })) }
      const reply = await client.call('find-ended-jobs', request, { timeoutMs: askSlurmMs })
      return reply.jobs.map(({ job }) => job)
    },
    async hello(runs) {
      const body = { node, address, health: health(), runs: heldRuns(runs) }
      return (await client.call('node-hello', body, { timeoutMs })).runs
    },
  }
}

function toTold({ verdict, reason = '', missing = [] }: ReplyOf<'get-verdict'>): Told {
  return { verdict, reason, missing: [...missing] }
}

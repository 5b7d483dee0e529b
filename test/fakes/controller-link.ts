// A stand-in for the controller as a node sees it: hands out a share, takes reports, and can be down.

import type { ControllerLink, ShareAnswer } from '../../lib/daemon/node/ports.ts'
import { openShare } from '../../lib/daemon/node/runs/open-share.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { type Run, runId } from '../../lib/job/run.ts'
import type { Verdict } from '../../lib/job/verdict.ts'
import type { RunLayout, Share } from '../../lib/protocol/messages/share.ts'

export interface FakeController extends ControllerLink {
  state: 'up' | 'down'
  /** The runs that reports were sent of, heard or not. */
  readonly tried: string[]
  readonly reports: string[]
  /** VMs that were told of as lost. */
  readonly losses: string[]
  answer: (run: Run) => ShareAnswer
  verdict: Verdict
  /** What a hello is told; `verdict` for all of them, if nothing else is said. */
  verdictOf: (run: Run) => Verdict
  reason: string
}

/** The share of node n1, which has the first VM. */
export function shareFor(run: Run, layout: Partial<RunLayout> = {}, sshSecret?: string): Share {
  return openShare(run, {
    deadline: '2030-01-01T00:00:00.000Z',
    image: { name: 'tiny', revision: '1' },
    ...{ uid: 2001, gid: 2001, user: 'alice', vni: 1, prefixLength: 16, gateway: '10.77.0.1', cpus: '0' },
    ...{ memoryMib: 500, node: 'n1', vmCpus: '1', vmMemoryMib: '400' },
    ...(sshSecret === undefined ? {} : { sshSecret }),
    layout: {
      ...{ nodes: 'n1', underlays: '10.99.0.11', vms: '1' },
      ...{ hostnames: 'tiny-0001', addresses: '10.77.0.2', macs: '52:54:76:00:00:01' },
      ...layout,
    },
  })
}

export function createFakeController(): FakeController {
  const up = () => {
    if (controller.state === 'down') throw new VmrmError('controller-unreachable', 'the controller is down')
  }
  const report = (what: string) => async (run: Run) => {
    controller.tried.push(runId(run))
    up()
    controller.reports.push(`${what} ${runId(run)}`)
  }
  const controller: FakeController = {
    state: 'up',
    tried: [],
    reports: [],
    losses: [],
    answer: (run) => ({ state: 'share', share: shareFor(run) }),
    verdict: 'commit',
    verdictOf: () => controller.verdict,
    reason: '',
    async getShare(run) {
      up()
      return controller.answer(run)
    },
    async reportPrepared(run) {
      await report('prepared')(run)
      return { verdict: 'pending', reason: '', missing: [] }
    },
    async reportFailed(run, { code }) {
      await report(`failed ${code}`)(run)
    },
    reportEnded: report('ended'),
    async reportLost(run, { vm }) {
      await report('lost')(run)
      controller.losses.push(vm)
    },
    async getVerdict() {
      up()
      return { verdict: controller.verdict, reason: controller.reason, missing: [] }
    },
    async endedJobs(jobs) {
      up()
      return jobs
    },
    async hello(runs) {
      up()
      return runs.map(({ job, restart }) => ({ job, restart, verdict: controller.verdictOf({ job, restart }) }))
    },
  }
  return controller
}
